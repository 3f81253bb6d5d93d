/* Tags files: cc -std=c99 tag.c -ltagwave_capi -o tag; ./tag song.mp3 ... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tagwave.h"

static void print_log(void *user, const char *message) {
    (void)user;
    fprintf(stderr, "tagwave: %s\n", message);
}

/* Called for each file, in order. */
static int print_row(void *user, size_t index, tagwave_status status, const char *message, const float *scores,
                     size_t score_count, const float *embedding, size_t embedding_count) {
    const tagwave *model = (const tagwave *)user;
    size_t label, best = 0;
    (void)embedding;
    (void)embedding_count;
    if (status != TAGWAVE_STATUS_OK) {
        printf("file %lu: %s\n", (unsigned long)index, message);
        return 0;
    }
    for (label = 1; label < score_count; label++) {
        if (scores[label] > scores[best]) {
            best = label;
        }
    }
    printf("file %lu: %s %.3f\n", (unsigned long)index, tagwave_label(model, best), (double)scores[best]);
    return 0;
}

static int fail(tagwave *model) {
    fprintf(stderr, "error: %s\n", tagwave_last_error());
    tagwave_free(model);
    return EXIT_FAILURE;
}

int main(int argc, char **argv) {
    tagwave *model = tagwave_new();
    float *scores;
    size_t count;
    if (argc < 2) {
        fprintf(stderr, "usage: tag FILE...\n");
        tagwave_free(model);
        return EXIT_FAILURE;
    }
    /* Options before the model is opened; the default device is the best one. */
    if (tagwave_set(model, "model", "small") != TAGWAVE_STATUS_OK ||
        tagwave_set(model, "device", "cpu") != TAGWAVE_STATUS_OK ||
        tagwave_set_log(model, print_log, NULL) != TAGWAVE_STATUS_OK || tagwave_open(model) != TAGWAVE_STATUS_OK) {
        return fail(model);
    }
    printf("%s on %s, %lu labels\n", tagwave_version(), tagwave_device(model),
           (unsigned long)tagwave_label_count(model));

    /* One file: scores in an array of the caller. */
    count = tagwave_label_count(model);
    scores = (float *)malloc(count * sizeof(float));
    if (scores == NULL || tagwave_tag_file(model, argv[1], scores, &count, NULL, NULL) != TAGWAVE_STATUS_OK) {
        free(scores);
        return fail(model);
    }
    printf("%s: %s %.3f\n", argv[1], tagwave_label(model, 0), (double)scores[0]);
    free(scores);

    /* Many files: a function for each result. */
    if (tagwave_tag_files(model, (const char *const *)(argv + 1), (size_t)(argc - 1), print_row, model) !=
        TAGWAVE_STATUS_OK) {
        return fail(model);
    }
    tagwave_free(model);
    return EXIT_SUCCESS;
}
