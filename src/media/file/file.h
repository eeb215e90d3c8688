/* SPDX-License-Identifier: MIT */
/* file/file.h: sound from files: read once, played to many.                      layer: media
 *
 * Spec    what libsndfile reads: WAV, FLAC, Ogg and others.
 * Shape   a struct file_sound is a whole file as 16-bit sound, mono, at a rate of the codecs. A struct file_player walks
 *         through one, once or over and over.
 * Life    a sound is its taker's until file_free; players hold none. One that is played on one rate may be played to any
 *         number of listeners.
 * Limits  FILE_BYTES_MAX of a file, FILE_SAMPLES_MAX of sound, FILE_CHANNELS_MAX channels; regular files only.
 * Threads file_load blocks: on helper threads only. Sounds are read by any; all else is the loop's.
 */
#ifndef FILE_FILE_H
#define FILE_FILE_H
#include "loop/loop.h"

enum {
    FILE_BYTES_MAX = 64 << 20,
    FILE_SAMPLES_MAX = 5 << 20, /* 10 MiB: eleven minutes at 8 kHz, under two at 48 kHz */
    FILE_CHANNELS_MAX = 8,
    FILE_PATH_MAX = 1024
};

struct file_sound {
    uint32_t rate_hz;
    size_t n, room;
    int16_t pcm[];
};

/* Reads all of it. rate_hz: 8000, 16000 or 48000. Blocks.
 * Errors: ERR_NOTFOUND, ERR_DENIED, ERR_UNSUPPORTED (no file of sound, or an odd one), ERR_TOOBIG, ERR_CORRUPT (nothing
 * in it can be read), ERR_NOMEM. */
MUST_USE enum err file_load(const char *path, uint32_t rate_hz, struct file_sound **ret_sound);
void file_free(struct file_sound *s); /* NULL is fine */

/* ---- from a loop ---- */

struct file_loading;
/* On the loop, in a later turn; sound is the callee's, NULL when rc says why. Comes once, and not after
 * file_load_cancel. When the loop is stopping it comes with ERR_CANCELLED. */
typedef void file_loaded_fn(void *arg, enum err rc, struct file_sound *sound);
/* path is copied. Errors: ERR_NOMEM, ERR_TOOBIG (path), ERR_BUSY, ERR_STATE (as loop_offload). */
MUST_USE enum err file_load_start(struct loop *l, sv path, uint32_t rate_hz, file_loaded_fn *fn,
                                  void *arg, struct file_loading **ret_loading);
/* Before it has come. */
void file_load_cancel(struct file_loading *f);

/* ---- playing ---- */

struct file_player {
    const struct file_sound *sound; /* borrowed */
    size_t at;
    bool loop;
};
static inline void file_play(struct file_player *p, const struct file_sound *s, bool loop)
{
    *p = (struct file_player){s, 0, loop};
}
/* The next n samples; silence behind the end. false: the end has been reached, and it is not begun again. */
bool file_next(struct file_player *p, int16_t *pcm, size_t n);

#endif
