/* SPDX-License-Identifier: MIT */
/* err/err.c: names and texts, from the one list. */
#include "err/err.h"

const char *err_text(enum err rc)
{
    static const char *const text[ERR_COUNT] = {
#define X(name, words) [ERR_##name] = words,
        ERR_LIST(X)
#undef X
    };
    return (unsigned)rc < ERR_COUNT ? text[rc] : "unknown error";
}

const char *err_name(enum err rc)
{
    static const char *const name[ERR_COUNT] = {
#define X(id, words) [ERR_##id] = #id,
        ERR_LIST(X)
#undef X
    };
    return (unsigned)rc < ERR_COUNT ? name[rc] : "UNKNOWN";
}
