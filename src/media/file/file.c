/* SPDX-License-Identifier: MIT */
/* file/file.c: a file is opened, mixed to one channel, brought to the rate, and closed again. */
#include "file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sndfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/codec.h"

enum {
    PIECE = 1024, /* frames */
    BEGIN_ROOM = 64 << 10,
    RATIO_MAX = 48, /* a piece becomes at most so many times as long: 1 kHz to 48 kHz */
    RATE_MIN = 1000,
    RATE_MAX = 192000
};

static enum err error_of(int code)
{
    switch (code) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOTFOUND;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

/* A descriptor of a file that is one. */
static enum err open_regular(const char *path, int *ret_fd)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_of(errno);
    enum err rc = ERR_OK;
    if (fstat(fd, &st) != 0)
        rc = ERR_IO;
    else if (!S_ISREG(st.st_mode))
        rc = ERR_UNSUPPORTED;
    else if (st.st_size > FILE_BYTES_MAX)
        rc = ERR_TOOBIG;
    if (rc)
        close(fd);
    else
        *ret_fd = fd;
    return rc;
}

/* Room for n more samples. */
static enum err grow(struct file_sound **s, size_t n)
{
    struct file_sound *old = *s;
    size_t have = old ? old->n : 0, room = old ? old->room : BEGIN_ROOM;
    if (have + n > FILE_SAMPLES_MAX)
        return ERR_TOOBIG;
    if (old && have + n <= room)
        return ERR_OK;
    while (room < have + n)
        room *= 2;
    struct file_sound *more = mem_realloc(old, sizeof(*more) + room * sizeof(*more->pcm));
    if (!more)
        return ERR_NOMEM;
    more->n = have;
    more->room = room;
    *s = more;
    return ERR_OK;
}

/* Of all channels the middle; what is too loud is cut. */
static void mix(const float *in, int channels, size_t frames, int16_t *out)
{
    for (size_t i = 0; i < frames; i++) {
        float sum = 0;
        for (int c = 0; c < channels; c++)
            sum += in[i * (size_t)channels + (size_t)c];
        sum = sum / (float)channels * 32767;
        out[i] = (int16_t)(sum >= 32767 ? 32767 : sum >= -32768 ? sum : -32768); /* and no number */
    }
}

static enum err read_all(SNDFILE *f, const SF_INFO *info, struct codec_resampler *r,
                         struct file_sound **s)
{
    float in[PIECE * FILE_CHANNELS_MAX];
    int16_t mono[PIECE];
    size_t most = (size_t)PIECE * RATIO_MAX;
    if (!r)
        most = PIECE;
    for (;;) {
        sf_count_t got = sf_readf_float(f, in, PIECE);
        if (got <= 0)
            break;
        mix(in, info->channels, (size_t)got, mono);
        TRY(grow(s, r ? most : (size_t)got));
        int16_t *to = (*s)->pcm + (*s)->n;
        if (r) {
            (*s)->n += codec_resample(r, mono, (size_t)got, to, most);
        } else {
            memcpy(to, mono, (size_t)got * sizeof(*mono));
            (*s)->n += (size_t)got;
        }
    }
    return *s && (*s)->n > 0 ? ERR_OK : ERR_CORRUPT;
}

static enum err load(SNDFILE *f, const SF_INFO *info, uint32_t rate_hz, struct file_sound **s)
{
    struct codec_resampler *r = NULL;
    if (info->channels < 1 || info->channels > FILE_CHANNELS_MAX || info->samplerate < RATE_MIN ||
        info->samplerate > RATE_MAX)
        return ERR_UNSUPPORTED;
    if ((uint32_t)info->samplerate != rate_hz)
        TRY(codec_resampler_new((uint32_t)info->samplerate, rate_hz, &r));
    enum err rc = read_all(f, info, r, s);
    codec_resampler_free(r);
    return rc;
}

enum err file_load(const char *path, uint32_t rate_hz, struct file_sound **ret_sound)
{
    struct file_sound *s = NULL;
    SF_INFO info = {0};
    int fd = -1;
    if (rate_hz != 8000 && rate_hz != 16000 && rate_hz != 48000)
        return ERR_UNSUPPORTED;
    TRY(open_regular(path, &fd));
    SNDFILE *f = sf_open_fd(fd, SFM_READ, &info, 0);
    enum err rc = f ? load(f, &info, rate_hz, &s) : ERR_UNSUPPORTED;
    if (f)
        sf_close(f);
    close(fd);
    if (rc) {
        file_free(s);
        return rc;
    }
    s->rate_hz = rate_hz;
    *ret_sound = s;
    return ERR_OK;
}

void file_free(struct file_sound *s)
{
    mem_free(s);
}

/* ---- from a loop ---- */

struct file_loading {
    struct job job;
    file_loaded_fn *fn; /* NULL: cancelled */
    void *arg;
    uint32_t rate_hz;
    enum err rc;
    struct file_sound *sound;
    char path[FILE_PATH_MAX + 1];
};

static void work(struct job *j)
{
    struct file_loading *f = CONTAINER(j, struct file_loading, job);
    f->rc = file_load(f->path, f->rate_hz, &f->sound);
}

static void done(struct loop *l, struct job *j)
{
    struct file_loading *f = CONTAINER(j, struct file_loading, job);
    file_loaded_fn *fn = f->fn;
    void *arg = f->arg;
    enum err rc = f->rc;
    struct file_sound *sound = f->sound;
    MEM_GIVE(f);
    if (!fn || loop_stopping(l)) {
        file_free(sound);
        sound = NULL;
        rc = ERR_CANCELLED;
    }
    if (fn)
        fn(arg, rc, sound);
}

enum err file_load_start(struct loop *l, sv path, uint32_t rate_hz, file_loaded_fn *fn, void *arg,
                         struct file_loading **ret_loading)
{
    if (path.n == 0 || path.n > FILE_PATH_MAX || memchr(path.p, 0, path.n))
        return ERR_TOOBIG;
    struct file_loading *f = MEM_TAKE(struct file_loading);
    if (!f)
        return ERR_NOMEM;
    f->job.work = work;
    f->job.done = done;
    f->fn = fn;
    f->arg = arg;
    f->rate_hz = rate_hz;
    memcpy(f->path, path.p, path.n);
    enum err rc = loop_offload(l, &f->job);
    if (rc) {
        MEM_GIVE(f);
        return rc;
    }
    *ret_loading = f;
    return ERR_OK;
}

void file_load_cancel(struct file_loading *f)
{
    f->fn = NULL;
}

/* ---- playing ---- */

bool file_next(struct file_player *p, int16_t *pcm, size_t n)
{
    size_t done = 0;
    while (done < n && p->sound && p->sound->n > 0) {
        size_t left = p->sound->n - p->at, take = n - done < left ? n - done : left;
        memcpy(pcm + done, p->sound->pcm + p->at, take * sizeof(*pcm));
        done += take;
        p->at += take;
        if (p->at < p->sound->n)
            continue;
        if (!p->loop)
            break;
        p->at = 0;
    }
    memset(pcm + done, 0, (n - done) * sizeof(*pcm));
    return p->sound && p->at < p->sound->n;
}
