"""The main job: two unmodified servers, each without and with Coppice, and a table. `run` is the entry; one idea a module."""
