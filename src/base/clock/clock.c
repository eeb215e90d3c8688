/* SPDX-License-Identifier: MIT */
/* clock/clock.c: wall times as text. Dates are computed here: no locale, no time zone, no static
 * tm. */
#include "clock/clock.h"

struct civil {
    int64_t year;
    unsigned month, day; /* from 1 */
    unsigned weekday;    /* 0 = Monday */
    unsigned hour, minute, second, ms;
};

/* Proleptic Gregorian calendar; years begin in March here, so that the leap day is the last. */
static struct civil civil_of(usec wall)
{
    int64_t days = wall / USEC_DAY;
    usec rest = wall % USEC_DAY;
    if (rest < 0) {
        rest += USEC_DAY;
        days--;
    }
    int64_t since = days + 719468; /* days from 0000-03-01 to 1970-01-01 */
    int64_t era = (since >= 0 ? since : since - 146096) / 146097; /* 400 years */
    unsigned day_of_era = (unsigned)(since - era * 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned march_month = (5 * day_of_year + 2) / 153;
    struct civil c = {
        .month = march_month < 10 ? march_month + 3 : march_month - 9,
        .day = day_of_year - (153 * march_month + 2) / 5 + 1,
        .weekday = (unsigned)(((days + 3) % 7 + 7) % 7), /* 1970-01-01 was a Thursday */
        .hour = (unsigned)(rest / USEC_HOUR),
        .minute = (unsigned)(rest / USEC_MIN % 60),
        .second = (unsigned)(rest / USEC_S % 60),
        .ms = (unsigned)(rest / USEC_MS % 1000),
    };
    c.year = (int64_t)year_of_era + era * 400 + (c.month <= 2);
    return c;
}

/* At least so many characters, with zeros in front, then what ends it. */
static void put_number(struct buf *b, int64_t v, unsigned width, char end)
{
    char text[24];
    size_t at = sizeof text;
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    text[--at] = end;
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest || sizeof text - at - 1 + (v < 0) < width);
    if (v < 0)
        text[--at] = '-';
    buf_mem(b, text + at, sizeof text - at);
}

static void put_time(struct buf *b, const struct civil *c, char end)
{
    put_number(b, c->hour, 2, ':');
    put_number(b, c->minute, 2, ':');
    put_number(b, c->second, 2, end);
}

void clock_rfc3339(struct buf *b, usec wall)
{
    struct civil c = civil_of(wall);
    put_number(b, c.year, 4, '-');
    put_number(b, c.month, 2, '-');
    put_number(b, c.day, 2, 'T');
    put_time(b, &c, '.');
    put_number(b, c.ms, 3, 'Z');
}

static void put_rfc1123(struct buf *b, usec wall)
{
    static const char weekday[7][4] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    static const char month[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct civil c = civil_of(wall);
    buf_mem(b, weekday[c.weekday], 3);
    buf_str(b, ", ");
    put_number(b, c.day, 2, ' ');
    buf_mem(b, month[c.month - 1], 3);
    buf_char(b, ' ');
    put_number(b, c.year, 4, ' ');
    put_time(b, &c, ' ');
    buf_str(b, "GMT");
}

/* Many answers of one second bear one date. */
void clock_rfc1123(struct buf *b, usec wall)
{
    static _Thread_local struct {
        usec second;
        size_t n; /* 0: none yet */
        char text[40];
    } last;
    if (wall < 0) {
        put_rfc1123(b, wall);
        return;
    }
    if (last.n == 0 || last.second != wall / USEC_S) {
        struct buf text;
        buf_init(&text, last.text, sizeof last.text);
        put_rfc1123(&text, wall);
        last.n = text.n;
        last.second = wall / USEC_S;
    }
    buf_mem(b, last.text, last.n);
}
