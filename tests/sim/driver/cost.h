/* cost.h: what a call costs under SIM_COST=on (cost.c holds the one table). */
#ifndef SIM_COST_H
#define SIM_COST_H
void cost_spend(int id);
void cost_prepare(void);
#endif
