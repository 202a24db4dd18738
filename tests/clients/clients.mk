# clients.mk: `make clients` runs every real program, the engines that take minutes included.
.PHONY: clients
clients: all ## every real program, whole engines included
	$(Q)COPPICE_CLIENTS=all; export COPPICE_CLIENTS; bad=0; for run in tests/clients/*/run; do $$run; s=$$?; [ $$s = 0 ] || [ $$s = 77 ] || bad=1; done; exit $$bad
