/* Calls with wrong arguments: each must return its status. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tagwave.h"

#define EXPECT(condition)                                                                        \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #condition, tagwave_last_error());   \
            return EXIT_FAILURE;                                                                 \
        }                                                                                        \
    } while (0)

static int stop(void *user, size_t index, tagwave_status status, const char *message, const float *scores,
                size_t score_count, const float *embedding, size_t embedding_count) {
    (void)index;
    (void)message;
    (void)scores;
    (void)score_count;
    (void)embedding;
    (void)embedding_count;
    *(int *)user += status == TAGWAVE_STATUS_OK;
    return 1;
}

static void count_log(void *user, const char *message) {
    *(int *)user += message[0] != 0;
}

int main(int argc, char **argv) {
    tagwave *model = tagwave_new();
    tagwave_stream *stream = NULL;
    float scores[50], few[3], samples[200], embedding[64];
    size_t count = 50, features = 64;
    static const float silence[2 * 30000];
    double times[3];
    uint64_t marks[2];
    int rows = 0, warnings = 0;
    const char *paths[3], *broken[1] = {NULL};
    if (argc != 2) {
        return EXIT_FAILURE;
    }
    memset(samples, 0, sizeof samples);
    EXPECT(tagwave_abi_version() == 1);
    EXPECT(tagwave_tag_file(model, argv[1], scores, &count, NULL, NULL) == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(strstr(tagwave_last_error(), "tagwave_open") != NULL);
    EXPECT(tagwave_label_count(model) == 0 && tagwave_label(model, 0) == NULL && tagwave_device(model) == NULL);
    EXPECT(tagwave_set(NULL, "device", "cpu") == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_set(model, NULL, "cpu") == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_set(model, "device", "\xff") == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_set(model, "colour", "red") == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(strstr(tagwave_last_error(), "colour") != NULL);
    EXPECT(tagwave_set(model, "precision", "f8") == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_set(model, "cpu_threads", "-1") == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_set(model, "cpu_threads", "0") == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_set(model, "cpu_threads", "100000") == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_set(model, "device", "cpu") == TAGWAVE_STATUS_OK);
    EXPECT(tagwave_set(model, "cpu_threads", "1") == TAGWAVE_STATUS_OK);
    EXPECT(tagwave_set(model, "decode_threads", "1") == TAGWAVE_STATUS_OK);
    EXPECT(tagwave_set(model, "model", "huge") == TAGWAVE_STATUS_OK);
    EXPECT(tagwave_open(model) == TAGWAVE_STATUS_INPUT);
    EXPECT(tagwave_set_model(model, (const uint8_t *)"junk", 4) == TAGWAVE_STATUS_OK);
    EXPECT(tagwave_open(model) == TAGWAVE_STATUS_UNSUPPORTED);
    EXPECT(tagwave_set(model, "model", "small") == TAGWAVE_STATUS_OK);
    EXPECT(tagwave_open(model) == TAGWAVE_STATUS_OK);
    EXPECT(tagwave_open(model) == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_set(model, "padding", "repeat") == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_set_model(model, (const uint8_t *)"junk", 4) == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_set(model, "hop", "0.5") == TAGWAVE_STATUS_OK);
    EXPECT(tagwave_set_log(model, count_log, &warnings) == TAGWAVE_STATUS_OK);
    EXPECT(tagwave_label(model, 50) == NULL && tagwave_embedding_len(model) == 64);
    EXPECT(tagwave_sample_rate(model) == 12000 && tagwave_clip_samples(model) == 349440);

    /* Lengths go in and out. */
    count = 3;
    EXPECT(tagwave_tag_file(model, argv[1], few, &count, NULL, NULL) == TAGWAVE_STATUS_BUFFER && count == 50);
    EXPECT(tagwave_tag_file(model, argv[1], few, NULL, NULL, NULL) == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_tag_file(model, argv[1], scores, &count, embedding, &features) == TAGWAVE_STATUS_OK);
    EXPECT(scores[0] >= 0.0f && scores[0] <= 1.0f && features == 64);
    EXPECT(tagwave_tag_file(model, "missing.mp3", scores, &count, NULL, NULL) == TAGWAVE_STATUS_INPUT);
    EXPECT(tagwave_tag_file(model, NULL, scores, &count, NULL, NULL) == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_tag_samples(model, NULL, 9, 1, 12000, scores, &count, NULL, NULL) == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_tag_samples(model, samples, 0, 2, 12000, scores, &count, NULL, NULL) == TAGWAVE_STATUS_INPUT);
    EXPECT(tagwave_tag_samples(model, samples, 9, 0, 12000, scores, &count, NULL, NULL) == TAGWAVE_STATUS_INPUT);
    EXPECT(tagwave_tag_samples(model, samples, 100, 2, 7, scores, &count, NULL, NULL) == TAGWAVE_STATUS_INPUT);
    EXPECT(tagwave_tag_samples(model, samples, 100, 2, 12000, scores, &count, NULL, NULL) == TAGWAVE_STATUS_OK);
    EXPECT(warnings > 0);
    samples[7] = NAN;
    EXPECT(tagwave_tag_samples(model, samples, 100, 2, 12000, scores, &count, NULL, NULL) == TAGWAVE_STATUS_INPUT);

    /* The function for rows can end the call. */
    paths[0] = paths[1] = paths[2] = argv[1];
    EXPECT(tagwave_tag_files(model, paths, 3, stop, &rows) == TAGWAVE_STATUS_CANCELLED && rows == 1);
    EXPECT(tagwave_tag_files(model, paths, 3, NULL, NULL) == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_tag_files(model, broken, 1, stop, &rows) == TAGWAVE_STATUS_CANCELLED && rows == 1);
    tagwave_cancel(model);

    EXPECT(tagwave_stream_open(model, 48000, 0, &stream) == TAGWAVE_STATUS_INPUT && stream == NULL);
    EXPECT(tagwave_stream_open(model, 48000, 2, NULL) == TAGWAVE_STATUS_ARGUMENT);
    EXPECT(tagwave_stream_push(NULL, samples, 9) == 0);
    EXPECT(tagwave_stream_open(model, 48000, 2, &stream) == TAGWAVE_STATUS_OK);
    /* The resampler needs some samples beyond the window. */
    EXPECT(tagwave_stream_push(stream, silence, 30000) == 30000);
    EXPECT(tagwave_stream_next(stream, 60000, times, marks, NULL, NULL, NULL, NULL) == TAGWAVE_STATUS_OK);
    EXPECT(times[1] > 0.49 && times[1] < 0.51 && marks[0] == 1 && marks[1] == 0);
    tagwave_free(model);
    EXPECT(tagwave_stream_push(stream, samples, 100) == 100 && tagwave_stream_free_frames(stream) > 0);
    EXPECT(tagwave_stream_next(stream, 0, NULL, NULL, NULL, NULL, NULL, NULL) == TAGWAVE_STATUS_PENDING);
    tagwave_stream_reset(stream);
    tagwave_stream_end(stream);
    EXPECT(tagwave_stream_push(stream, samples, 100) == 0 && tagwave_stream_overrun_frames(stream) == 0);
    EXPECT(tagwave_stream_next(stream, 60000, NULL, NULL, NULL, NULL, NULL, NULL) == TAGWAVE_STATUS_ENDED);
    tagwave_stream_close(stream);
    tagwave_stream_close(NULL);
    tagwave_free(NULL);
    return EXIT_SUCCESS;
}
