/* SPDX-License-Identifier: MIT */
/* The calls that stand, and those that have ended. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli_priv.h"

enum { LAST_MAX = 1000 };

/* Which way it goes, and what each side hears of it: "relay  MOS caller 4.4, callee 4.3". */
static void media_text(json_t *quality)
{
    static const char *const sides[] = {"caller", "callee"};
    const char *before = "  MOS";
    if (!json_object_get(quality, "media"))
        return;
    printf("  ");
    cli_put(stdout, cli_member(quality, "media"));
    for (int i = 0; i < 2; i++) {
        const json_t *mos = json_object_get(json_object_get(quality, sides[i]), "mos");
        if (mos)
            printf("%s %s %.1f", before, sides[i], json_number_value(mos));
        before = mos ? "," : before;
    }
}

static void put_parties(json_t *x)
{
    cli_put(stdout, cli_member(x, "from"));
    printf(" -> ");
    cli_put(stdout, cli_member(x, "to"));
}

static void standing_text(json_t *a)
{
    size_t i;
    json_t *x;
    json_array_foreach(a, i, x)
    {
        cli_put(stdout, cli_member(x, "state"));
        printf(" ");
        put_parties(x);
        printf("  since ");
        cli_put(stdout, cli_member(x, "since"));
        printf("  ");
        cli_put(stdout, cli_member(x, "call_id"));
        media_text(json_object_get(x, "quality"));
        printf("\n");
    }
    if (json_array_size(a) == 0)
        printf("no calls\n");
}

static void ended_text(json_t *a)
{
    size_t i;
    json_t *x, *duration;
    long long status;
    json_array_foreach(a, i, x)
    {
        cli_put(stdout, cli_member(x, "since"));
        status = (long long)json_integer_value(json_object_get(x, "status"));
        if (status)
            printf("  %lld ", status);
        else /* the caller was told nothing any more */
            printf("  - ");
        put_parties(x);
        duration = json_object_get(x, "duration");
        printf(duration ? "  " : "  not answered");
        if (duration)
            cli_put_duration((long long)json_integer_value(duration));
        if (cli_member(x, "ended_by")[0]) {
            printf(", ended by ");
            cli_put(stdout, cli_member(x, "ended_by"));
        }
        if (cli_member(x, "reason")[0]) {
            printf(": ");
            cli_put(stdout, cli_member(x, "reason"));
        }
        printf("  ");
        cli_put(stdout, cli_member(x, "call_id"));
        media_text(json_object_get(x, "quality"));
        printf("\n");
    }
    if (json_array_size(a) == 0)
        printf("no calls have ended\n");
}

int cli_calls(struct cli *c)
{
    char path[64] = "/api/v1/records", *end = NULL;
    if (c->on[CLI_LAST] && !c->on[CLI_ENDED])
        return cli_usage(c, "--last goes with --ended");
    if (!c->on[CLI_ENDED])
        return cli_show(c, "/api/v1/calls", NULL, CLI_ONLINE, standing_text);
    if (c->on[CLI_LAST]) {
        unsigned long n = strtoul(c->value[CLI_LAST], &end, 10);
        if (*end || n < 1 || n > LAST_MAX)
            return cli_usage(c, "--last: a number from 1 to %d", LAST_MAX);
        snprintf(path, sizeof(path), "/api/v1/records?last=%lu", n);
    }
    return cli_show(c, path, NULL, CLI_OFFLINE_KNOWN, ended_text);
}
