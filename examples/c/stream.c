/* Tags live audio, here a chord of three seconds: cc -std=c99 stream.c -ltagwave_capi -lm -o stream; ./stream */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tagwave.h"

#define RATE 48000
#define BLOCK 480
#define LABELS 50

/* What the audio callback of a player does: hand its block on. */
static void audio_callback(tagwave_stream *stream, unsigned long first) {
    float block[2 * BLOCK];
    unsigned long i;
    for (i = 0; i < BLOCK; i++) {
        double t = (double)(first + i) / RATE;
        float sample = (float)(0.2 * sin(2763.0 * t) + 0.2 * sin(3483.0 * t) + 0.2 * sin(4139.0 * t));
        block[2 * i] = sample;
        block[2 * i + 1] = sample;
    }
    tagwave_stream_push(stream, block, BLOCK);
}

int main(void) {
    tagwave *model = tagwave_new();
    tagwave_stream *stream = NULL;
    unsigned long frame;
    int updates = 0;
    /* One thread is enough for live audio, and leaves the others to the host. */
    if (tagwave_set(model, "device", "cpu") != TAGWAVE_STATUS_OK ||
        tagwave_set(model, "cpu_threads", "1") != TAGWAVE_STATUS_OK ||
        tagwave_set(model, "hop", "0.5") != TAGWAVE_STATUS_OK ||
        tagwave_set(model, "every_hop", "true") != TAGWAVE_STATUS_OK || tagwave_open(model) != TAGWAVE_STATUS_OK ||
        tagwave_stream_open(model, RATE, 2, &stream) != TAGWAVE_STATUS_OK) {
        fprintf(stderr, "error: %s\n", tagwave_last_error());
        tagwave_free(model);
        return EXIT_FAILURE;
    }
    for (frame = 0; frame < 3 * RATE; frame += BLOCK) {
        audio_callback(stream, frame);
    }
    tagwave_stream_end(stream);

    /* Any other thread: updates as they come. */
    for (;;) {
        double times[3];
        uint64_t marks[2];
        float scores[LABELS];
        size_t label, best = 0, count = LABELS;
        tagwave_status status = tagwave_stream_next(stream, 100, times, marks, scores, &count, NULL, NULL);
        if (status == TAGWAVE_STATUS_ENDED) {
            break;
        }
        if (status == TAGWAVE_STATUS_PENDING) {
            continue;
        }
        if (status != TAGWAVE_STATUS_OK) {
            fprintf(stderr, "error: %s\n", tagwave_last_error());
            break;
        }
        for (label = 1; label < count; label++) {
            if (scores[label] > scores[best]) {
                best = label;
            }
        }
        printf("%.1f s: %s %.3f%s\n", times[1], tagwave_label(model, best), (double)scores[best],
               marks[0] ? " (silence)" : "");
        updates++;
    }
    tagwave_stream_close(stream);
    tagwave_free(model);
    return updates == 6 ? EXIT_SUCCESS : EXIT_FAILURE;
}
