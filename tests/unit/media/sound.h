/* SPDX-License-Identifier: MIT */
/* sound.h: tones to put in, and how much of one there is in what comes out. */
#ifndef SOUND_H
#define SOUND_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* phase: where it goes on; 0 at first. */
static inline void tone(double hz, double amplitude, double rate, double *phase, int16_t *pcm,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pcm[i] = (int16_t)lrint(amplitude * sin(*phase));
        *phase = fmod(*phase + 2 * M_PI * hz / rate, 2 * M_PI);
    }
}

static inline double power(const int16_t *pcm, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)pcm[i] * pcm[i];
    return n ? sum / (double)n : 0;
}

/* Of the part of frequency hz (Goertzel's sum, over whole periods). */
static inline double power_at(double hz, double rate, const int16_t *pcm, size_t n)
{
    double re = 0, im = 0;
    for (size_t i = 0; i < n; i++) {
        re += pcm[i] * cos(2 * M_PI * hz * (double)i / rate);
        im += pcm[i] * sin(2 * M_PI * hz * (double)i / rate);
    }
    return 2 * (re * re + im * im) / ((double)n * (double)n);
}

static inline double db(double ratio)
{
    return 10 * log10(ratio > 1e-12 ? ratio : 1e-12);
}

/* dB by which the tone is stronger than all else. */
static inline double purity(double hz, double rate, const int16_t *pcm, size_t n)
{
    double all = power(pcm, n), of = power_at(hz, rate, pcm, n);
    return db(of / (all - of > 1e-9 ? all - of : 1e-9));
}

static inline int largest_step(const int16_t *pcm, size_t n)
{
    int most = 0;
    for (size_t i = 1; i < n; i++) {
        int step = pcm[i] > pcm[i - 1] ? pcm[i] - pcm[i - 1] : pcm[i - 1] - pcm[i];
        if (step > most)
            most = step;
    }
    return most;
}

#endif
