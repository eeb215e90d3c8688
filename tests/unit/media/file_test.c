/* SPDX-License-Identifier: MIT */
/* file_test.c: files of many kinds, and what is no file of sound. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sndfile.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "file/file.h"
#include "sound.h"

static char folder[] = "/tmp/file_test.XXXXXX";
static char path[64];

/* A second of 1,000 Hz on the first channel and on the last, nothing on those between. */
static void write_tone(int format, int rate, int channels, double seconds)
{
    SF_INFO info = {.samplerate = rate, .channels = channels, .format = format};
    SNDFILE *f = sf_open(path, SFM_WRITE, &info);
    assert_non_null(f);
    for (int i = 0; i < rate * seconds; i++) {
        float v[16] = {0};
        v[0] = v[channels - 1] = 0.5F * (float)sin(2 * M_PI * 1000 * i / rate);
        assert_int_equal(sf_writef_float(f, v, 1), 1);
    }
    sf_close(f);
}

static void files_of_any_kind_become_the_same_sound(void **state)
{
    (void)state;
    static const struct {
        int format, rate, channels;
    } kinds[] = {{SF_FORMAT_WAV | SF_FORMAT_PCM_16, 8000, 1},
                 {SF_FORMAT_WAV | SF_FORMAT_PCM_16, 44100, 2},
                 {SF_FORMAT_WAV | SF_FORMAT_PCM_24, 48000, 1},
                 {SF_FORMAT_WAV | SF_FORMAT_FLOAT, 16000, 2},
                 {SF_FORMAT_WAV | SF_FORMAT_ULAW, 8000, 1},
                 {SF_FORMAT_WAV | SF_FORMAT_PCM_U8, 11025, 1},
                 {SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 22050, 2},
                 {SF_FORMAT_AIFF | SF_FORMAT_PCM_16, 96000, 1}};
    static const uint32_t rates[] = {8000, 16000, 48000};
    for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
        write_tone(kinds[k].format, kinds[k].rate, kinds[k].channels, 1);
        for (int r = 0; r < 3; r++) {
            struct file_sound *s;
            assert_int_equal(file_load(path, rates[r], &s), ERR_OK);
            assert_int_equal(s->rate_hz, rates[r]);
            assert_in_range(s->n, rates[r] - 100, rates[r] + 1);
            double level = db(power_at(1000, rates[r], s->pcm + rates[r] / 4, rates[r] / 2) /
                              (16383.5 * 16383.5 / 2));
            if (fabs(level) > 0.3 ||
                purity(1000, rates[r], s->pcm + rates[r] / 4, rates[r] / 2) < 30)
                fail_msg("kind %zu at %u: %.2f dB", k, rates[r], level);
            file_free(s);
        }
        assert_int_equal(unlink(path), 0);
    }
}

static void what_is_no_sound_is_refused(void **state)
{
    (void)state;
    struct file_sound *s;
    assert_int_equal(file_load(path, 8000, &s), ERR_NOTFOUND);
    assert_int_equal(file_load(folder, 8000, &s), ERR_UNSUPPORTED);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(file_load(path, 8000, &s),
                     ERR_UNSUPPORTED); /* and nobody waits for a writer */
    assert_int_equal(unlink(path), 0);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs("this is a letter", f);
    fclose(f);
    assert_int_equal(file_load(path, 8000, &s), ERR_UNSUPPORTED);
    assert_int_equal(truncate(path, FILE_BYTES_MAX + 1L), 0);
    assert_int_equal(file_load(path, 8000, &s), ERR_TOOBIG);
    assert_int_equal(unlink(path), 0);
    write_tone(SF_FORMAT_WAV | SF_FORMAT_PCM_16, 8000, 1, 1);
    assert_int_equal(file_load(path, 44100, &s), ERR_UNSUPPORTED);
    write_tone(SF_FORMAT_WAV | SF_FORMAT_PCM_16, 8000, 9, 0.1);
    assert_int_equal(file_load(path, 8000, &s), ERR_UNSUPPORTED);
    write_tone(SF_FORMAT_WAV | SF_FORMAT_PCM_16, 8000, 1, 0);
    assert_int_equal(file_load(path, 8000, &s), ERR_CORRUPT);
    write_tone(SF_FORMAT_WAV | SF_FORMAT_PCM_U8, 8000, 1, 120);
    assert_int_equal(file_load(path, 48000, &s), ERR_TOOBIG); /* small as it is */
    size_t live = mem_live();
    mem_fail_after(1);
    assert_int_equal(file_load(path, 8000, &s), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(mem_live(), live);
    assert_int_equal(unlink(path), 0);
}

/* ---- from a loop: one that runs a job when it is told to ---- */

static struct job *waiting;

static enum err keep(struct loop *l, struct job *j)
{
    j->loop = l;
    waiting = j;
    return ERR_OK;
}

static enum err busy(struct loop *l, struct job *j)
{
    (void)l;
    (void)j;
    return ERR_BUSY;
}

static struct {
    unsigned n;
    enum err rc;
    struct file_sound *sound;
} told;

static void on_loaded(void *arg, enum err rc, struct file_sound *sound)
{
    assert_ptr_equal(arg, &told);
    told.n++;
    told.rc = rc;
    told.sound = sound;
}

static void run_job(struct loop *l)
{
    waiting->work(waiting);
    waiting->done(l, waiting);
}

static void a_loop_gets_its_sound_once(void **state)
{
    (void)state;
    struct loop_ops ops = {.offload = keep};
    struct loop l = {.ops = &ops};
    struct file_loading *f;
    size_t live = mem_live();
    write_tone(SF_FORMAT_WAV | SF_FORMAT_PCM_16, 8000, 1, 0.1);
    assert_int_equal(file_load_start(&l, sv_of(path), 8000, on_loaded, &told, &f), ERR_OK);
    assert_int_equal(told.n, 0);
    run_job(&l);
    assert_true(told.n == 1 && told.rc == ERR_OK && told.sound->n == 800);
    file_free(told.sound);
    assert_int_equal(file_load_start(&l, SV("/nowhere/at/all"), 8000, on_loaded, &told, &f),
                     ERR_OK);
    run_job(&l);
    assert_true(told.n == 2 && told.rc == ERR_NOTFOUND && !told.sound);
    assert_int_equal(file_load_start(&l, sv_of(path), 8000, on_loaded, &told, &f), ERR_OK);
    file_load_cancel(f);
    run_job(&l);
    assert_int_equal(told.n, 2);
    assert_int_equal(file_load_start(&l, sv_of(path), 8000, on_loaded, &told, &f), ERR_OK);
    l.stopping = true;
    run_job(&l);
    assert_true(told.n == 3 && told.rc == ERR_CANCELLED && !told.sound);
    l.stopping = false;
    ops.offload = busy;
    assert_int_equal(file_load_start(&l, sv_of(path), 8000, on_loaded, &told, &f), ERR_BUSY);
    assert_int_equal(file_load_start(&l, SV(""), 8000, on_loaded, &told, &f), ERR_TOOBIG);
    assert_int_equal(file_load_start(&l, SV("a\0b"), 8000, on_loaded, &told, &f), ERR_TOOBIG);
    assert_int_equal(mem_live(), live);
    assert_int_equal(unlink(path), 0);
}

static void a_player_ends_or_begins_again(void **state)
{
    (void)state;
    struct file_player p;
    int16_t pcm[160];
    struct file_sound *s = mem_calloc(1, sizeof(*s) + 400 * sizeof(int16_t));
    assert_non_null(s);
    s->n = 400;
    s->rate_hz = 8000;
    for (int i = 0; i < 400; i++)
        s->pcm[i] = (int16_t)(i + 1);
    file_play(&p, s, false);
    assert_true(file_next(&p, pcm, 160) && pcm[0] == 1);
    assert_true(file_next(&p, pcm, 160) && pcm[0] == 161);
    assert_false(file_next(&p, pcm, 160));
    assert_true(pcm[0] == 321 && pcm[79] == 400 && pcm[80] == 0 && pcm[159] == 0);
    assert_false(file_next(&p, pcm, 160));
    assert_true(pcm[0] == 0);
    file_play(&p, s, true);
    for (int i = 0; i < 30; i++) {
        assert_true(file_next(&p, pcm, 160));
        for (int k = 0; k < 160; k++)
            assert_int_equal(pcm[k], (i * 160 + k) % 400 + 1);
    }
    file_play(&p, NULL, true);
    assert_false(file_next(&p, pcm, 160));
    s->n = 0;
    file_play(&p, s, true);
    assert_false(file_next(&p, pcm, 160));
    file_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_any_kind_become_the_same_sound),
        cmocka_unit_test(what_is_no_sound_is_refused),
        cmocka_unit_test(a_loop_gets_its_sound_once),
        cmocka_unit_test(a_player_ends_or_begins_again),
    };
    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(path, sizeof(path), "%s/sound", folder);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    (void)rmdir(folder);
    return rc;
}
