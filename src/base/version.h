/* version.h: the version, once. */
#ifndef COPPICE_BASE_VERSION_H
#define COPPICE_BASE_VERSION_H
#define COPPICE_VERSION "0.1.0"
#define COPPICE_VERSION_NUMBER 100u /* major * 10000 + minor * 100 + patch */
#endif
