/* SPDX-License-Identifier: MIT */
/* trickle/trickle.c: a body of trickled candidates, line by line: what stands before the first m= is said of all. */
#include "trickle/trickle.h"

bool trickle_is(sv content_type)
{
    sv type = sv_trim(sv_sub(content_type, 0, sv_chr(content_type, ';')));
    return sv_ieq(type, SV("application/trickle-ice-sdpfrag"));
}

struct reading {
    struct trickle *t;
    struct trickle_media *m; /* NULL: no m= line yet */
    const char *why;
};

static enum err wrong(struct reading *r, enum err rc, const char *why)
{
    r->why = why;
    return rc;
}

/* RFC 8839 §5.4: ice-char. */
static bool is_credential(sv v, size_t min)
{
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '+' && c != '/')
            return false;
    }
    return v.n >= min && v.n <= 256;
}

static enum err take_candidate(struct reading *r, sv value)
{
    struct sdp_candidate c;
    /* §4.4: "Such "mid" attributes MUST immediately precede the list of candidates" */
    if (!r->m || r->m->mid.n == 0)
        return wrong(r, ERR_SYNTAX, "a candidate before any mid");
    if (++r->t->candidates > TRICKLE_CANDIDATES_MAX)
        return wrong(r, ERR_TOOBIG, "too many candidates");
    if (sdp_candidate_read(value, &c))
        return wrong(r, ERR_SYNTAX, "a malformed candidate");
    r->m->candidates++;
    return ERR_OK;
}

/* Names in any case (§9.2). */
static enum err take_attribute(struct reading *r, sv line)
{
    size_t colon = sv_chr(line, ':');
    sv name = sv_sub(line, 0, colon), value = sv_sub(line, colon + 1, line.n);
    sv *ufrag = r->m ? &r->m->ufrag : &r->t->ufrag, *pwd = r->m ? &r->m->pwd : &r->t->pwd;
    if (name.n == 0)
        return wrong(r, ERR_SYNTAX, "an attribute without a name");
    if (sv_ieq(name, SV("candidate")))
        return take_candidate(r, value);
    if (sv_ieq(name, SV("end-of-candidates"))) {
        *(r->m ? &r->m->end : &r->t->end) = true;
    } else if (sv_ieq(name, SV("mid"))) {
        if (!r->m || r->m->mid.n > 0 || value.n == 0)
            return wrong(r, ERR_SYNTAX, "a mid where none belongs");
        r->m->mid = value;
    } else if (sv_ieq(name, SV("ice-ufrag"))) {
        if (!is_credential(value, 4))
            return wrong(r, ERR_SYNTAX, "a malformed ice-ufrag");
        *ufrag = value;
    } else if (sv_ieq(name, SV("ice-pwd"))) {
        if (!is_credential(value, 22))
            return wrong(r, ERR_SYNTAX, "a malformed ice-pwd");
        *pwd = value;
    }
    return ERR_OK;
}

/* §4.4: what a pseudo m= line says besides being one is ignored. */
static enum err take_line(struct reading *r, sv line)
{
    sv rest = sv_sub(line, 2, line.n);
    if (sv_starts(line, SV("a=")))
        return take_attribute(r, rest);
    if (!sv_starts(line, SV("m=")) || rest.n == 0)
        return wrong(r, ERR_SYNTAX, "neither a= nor m=");
    if (r->t->n == TRICKLE_MEDIA_MAX)
        return wrong(r, ERR_TOOBIG, "too many m= lines");
    r->m = &r->t->media[r->t->n++];
    return ERR_OK;
}

/* What the whole says goes for each that does not say it itself. */
static enum err settle(struct reading *r)
{
    struct trickle *t = r->t;
    bool whole = t->ufrag.n > 0 && t->pwd.n > 0;
    if (t->n == 0 && !whole)
        return wrong(r, ERR_SYNTAX, "no ice-ufrag and ice-pwd");
    for (unsigned i = 0; i < t->n; i++) {
        struct trickle_media *m = &t->media[i];
        if ((m->ufrag.n > 0) != (m->pwd.n > 0))
            return wrong(r, ERR_SYNTAX, "ice-ufrag or ice-pwd alone");
        if (m->ufrag.n == 0) {
            if (!whole)
                return wrong(r, ERR_SYNTAX, "no ice-ufrag and ice-pwd");
            m->ufrag = t->ufrag;
            m->pwd = t->pwd;
        }
        m->end = m->end || t->end;
    }
    return ERR_OK;
}

enum err trickle_parse(sv body, struct trickle *ret, struct sdp_fault *reterr_fault)
{
    struct reading r = {.t = ret};
    enum err rc = ERR_OK;
    uint32_t line = 0;
    memset(ret, 0, sizeof(*ret));
    if (body.n > TRICKLE_MAX)
        rc = wrong(&r, ERR_TOOBIG, "too long");
    while (!rc && body.n > 0) {
        size_t end = sv_chr(body, '\n');
        sv one = sv_sub(body, 0, end);
        if (one.n > 0 && one.p[one.n - 1] == '\r')
            one.n--;
        body = sv_sub(body, end + 1, body.n);
        line++;
        rc = one.n > 0 ? take_line(&r, one) : ERR_OK;
    }
    if (!rc) {
        line = 0;
        rc = settle(&r);
    }
    if (rc && reterr_fault)
        *reterr_fault = (struct sdp_fault){line, r.why};
    return rc;
}
