/* SPDX-License-Identifier: MIT */
/* Questions go to the backend of the loop. */
#include "dns/dns.h"

enum err dns_ask(struct loop *l, sv name, enum dns_type type, dns_fn *fn, void *arg,
                 struct dns_query **ret_query)
{
    return l->ops->dns_query(l, name, (unsigned)type, fn, arg, ret_query);
}

void dns_cancel(struct dns_query *q)
{
    if (q)
        q->ops->cancel(q);
}
