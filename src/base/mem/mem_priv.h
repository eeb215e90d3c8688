/* SPDX-License-Identifier: MIT */
/* mem/mem_priv.h: what the parts of mem share.                                  layer: base */
#ifndef MEM_MEM_PRIV_H
#define MEM_MEM_PRIV_H
#include <stdbool.h>

/* An allocation is about to happen: true when mem_fail_after says that it fails. Pools and block
 * pools ask too, so that a torture run meets every place that can be refused, warm or cold. */
bool mem_refuse(void);

#endif
