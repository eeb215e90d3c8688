/* SPDX-License-Identifier: MIT */
/* What is known of a side: where it is, what it is, how offers are put to it. */
#include "anchor/anchor_priv.h"

/* It stands in a network of this house. */
static bool is_local(const struct settings *set, const struct addr *a)
{
    enum addr_class c = addr_class(a);
    for (unsigned i = 0; i < set->sip.local_n; i++) {
        if (addr_net_has(&set->sip.local[i], a))
            return true;
    }
    return c == ADDR_LOOPBACK || c == ADDR_PRIVATE || c == ADDR_LINK_LOCAL;
}

/* The address that this flow's peers are told, if it is another than its own. */
static struct addr advertised(struct anchor *a, const struct flow *f)
{
    char mem[300];
    struct buf b;
    struct addr told;
    if (!sv_present(sip_config(a->sip)->listen[f->listener].advertise))
        return (struct addr){0};
    buf_init(&b, mem, sizeof(mem));
    sip_put_hostport(a->sip, &b, f);
    if (b.rc || addr_parse(buf_sv(&b), &told) || addr_equal_ip(&told, &f->local))
        return (struct addr){0};
    return told;
}

static void of_flow(struct anchor *a, const struct settings *set, const struct flow *f,
                    const struct addr *source, struct party *ret)
{
    bool web = f->transport == SIP_T_WS || f->transport == SIP_T_WSS;
    *ret = (struct party){
        .media = {.local = f->local, .advertise = advertised(a, f), .source = *source},
        .facts = {.source = session_ip(source), .web = web, .local = is_local(set, source)},
        .profile = web                                     ? OFFER_WEB
                   : set->media.srtp == MEDIA_SRTP_REQUIRE ? OFFER_SAVP
                                                           : OFFER_AVP,
    };
}

void party_of_sender(struct anchor *a, struct rx *rx, struct party *ret)
{
    const struct sip_addr *contact;
    size_t n;
    of_flow(a, a->set, &rx->flow, &rx->source, ret);
    ret->facts.ice = !sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contact, &n) && n == 1 &&
                     sip_feature(contact->params, SV("+sip.ice"));
}

/* Its Contact is not where it is: a NAT stands there, and what it will answer names no address of use either. */
static bool behind_nat(const struct proxy_target *t, const struct addr *source)
{
    struct uri u;
    struct addr named;
    size_t at;
    if (!t || t->trusted || (!t->parsed && uri_parse(t->uri, &u, &at)))
        return false;
    return addr_parse_ip(t->parsed ? t->parsed->host : u.host, 0, &named) == ERR_OK &&
           !addr_equal_ip(&named, source);
}

enum err party_of_dest(struct anchor *a, const struct settings *set, const struct proxy_target *t,
                       const struct dest *dest, struct party *ret)
{
    struct flow f = dest->flow;
    if (f.transport == SIP_T_NONE || addr_is_any(&f.local))
        TRY(sip_flow_for(a->sip, dest, &f));
    struct addr source = dest->flow.transport != SIP_T_NONE ? dest->flow.remote : dest->addr;
    of_flow(a, set, &f, &source, ret);
    ret->media.trusted = t && t->trusted;
    ret->facts.ice = t && t->ice;
    ret->facts.nat = behind_nat(t, &source);
    return ERR_OK;
}

void party_profile(struct party *p, const struct offer_session *own, enum offer_srtp srtp)
{
    p->profiled = true;
    for (unsigned i = 0; i < own->n; i++) {
        const struct offer_media *m = &own->media[i];
        if (m->refused || m->kind == OFFER_T38 || m->kind == OFFER_OTHER)
            continue;
        p->profile = m->web                                    ? OFFER_WEB
                     : m->dtls_only                            ? OFFER_DTLS_AVP
                     : m->secure || srtp == OFFER_SRTP_REQUIRE ? OFFER_SAVP
                                                               : OFFER_AVP;
        return;
    }
}

void party_ice(struct party *p, const struct offer_session *own)
{
    for (unsigned i = 0; i < own->n; i++)
        p->facts.ice = p->facts.ice || (!own->media[i].refused && own->media[i].ice);
}

struct offer_policy anchor_policy(const struct settings *set)
{
    static const enum offer_codec_id codec[SETTINGS_CODECS] = {[SETTINGS_OPUS] = CODEC_OPUS,
                                                               [SETTINGS_G722] = CODEC_G722,
                                                               [SETTINGS_PCMA] = CODEC_PCMA,
                                                               [SETTINGS_PCMU] = CODEC_PCMU};
    static const enum offer_srtp srtp[] = {[MEDIA_SRTP_NEVER] = OFFER_SRTP_NEVER,
                                           [MEDIA_SRTP_PREFER] = OFFER_SRTP_PREFER,
                                           [MEDIA_SRTP_REQUIRE] = OFFER_SRTP_REQUIRE};
    static const enum offer_dtmf dtmf[] = {[MEDIA_DTMF_AUTO] = OFFER_DTMF_AUTO,
                                           [MEDIA_DTMF_RFC4733] = OFFER_DTMF_EVENTS,
                                           [MEDIA_DTMF_INFO] = OFFER_DTMF_INFO,
                                           [MEDIA_DTMF_INBAND] = OFFER_DTMF_TONES};
    struct offer_policy p = {.srtp = srtp[set->media.srtp],
                             .dtmf = dtmf[set->media.dtmf],
                             .codecs_n = set->media.codecs_n,
                             .transcode = set->media.transcode,
                             .t38 = set->media.t38};
    for (unsigned i = 0; i < p.codecs_n; i++)
        p.codecs[i] = codec[set->media.codecs[i]];
    return p;
}

void anchor_sender(struct anchor *a, struct rx *rx, struct session_party *ret_party)
{
    struct party p;
    party_of_sender(a, rx, &p);
    *ret_party = p.media;
}
