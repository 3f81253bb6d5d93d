/* C interface of tagwave: music auto-tagging of files, samples and live audio.
 *
 * Written by cbindgen from capi/src; do not edit. docs/embedding.md is the guide.
 *
 * Threads: [thread-safe] functions may be called from any thread at any time; [one thread at a time] ones from any
 * thread, but not twice at once for the same object; [audio thread] ones from one thread, where they neither wait nor
 * allocate.
 *
 * Errors: functions that can fail return a tagwave_status; tagwave_last_error() is the message.
 * Arrays belong to the caller. Their length in elements goes in and comes back as the number of values there are; if
 * that is more than there is room for, the status is TAGWAVE_STATUS_BUFFER and nothing is written. A null pointer for
 * an array and its length leaves it out. Text is UTF-8 and ends with a zero byte.
 */

#ifndef TAGWAVE_H
#define TAGWAVE_H

#include <stddef.h>
#include <stdint.h>

// Result of a call. Numbers never change their meaning; new ones may be added.
enum tagwave_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Success.
  TAGWAVE_STATUS_OK = 0,
  // The audio or another input is invalid; others can still be tagged.
  TAGWAVE_STATUS_INPUT = 1,
  // The format of the input, or the combination of options, is not supported.
  TAGWAVE_STATUS_UNSUPPORTED = 2,
  // Memory, threads, files or weights are missing.
  TAGWAVE_STATUS_RESOURCE = 3,
  // The device failed, or there is none.
  TAGWAVE_STATUS_DEVICE = 4,
  // A defect of tagwave.
  TAGWAVE_STATUS_INTERNAL = 5,
  // The call was cancelled.
  TAGWAVE_STATUS_CANCELLED = 6,
  // An argument is null, not UTF-8, or out of range.
  TAGWAVE_STATUS_ARGUMENT = 7,
  // An array of the caller is too short; its length says how many values there are.
  TAGWAVE_STATUS_BUFFER = 8,
  // There is no result yet.
  TAGWAVE_STATUS_PENDING = 9,
  // There will be no more results.
  TAGWAVE_STATUS_ENDED = 10,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum tagwave_status tagwave_status;
#else
typedef int32_t tagwave_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A model on a device. Make one with tagwave_new, set options, then open it.
typedef struct tagwave tagwave;

// A stream of live audio. It lives on when the handle that opened it is freed.
typedef struct tagwave_stream tagwave_stream;

// Function of the caller that is told warnings. [one thread at a time]
typedef void (*TagwaveLog)(void *user,
                           const char *message);

// Function of the caller that gets the result of each file, in order. `status` and `message` say what failed; else
// `scores` and `embedding` are arrays that are valid during the call. A value other than zero ends tagwave_tag_files.
typedef int (*TagwaveRow)(void *user,
                          size_t index,
                          tagwave_status status,
                          const char *message,
                          const float *scores,
                          size_t score_count,
                          const float *embedding,
                          size_t embedding_count);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Makes a handle with default options: the built-in model on the best device. Null if there is no memory. [thread-safe]
struct tagwave *tagwave_new(void);

// Frees a handle; null is allowed. Streams of it go on. No other call may use it meanwhile. [one thread at a time]
void tagwave_free(struct tagwave *handle);

// Sets an option. [thread-safe]
// Before tagwave_open: "model" (a name, or the path of a model file), "labels" (the labels themselves, one per line),
// "weights" (a file or folder), "device" ("auto", "cpu", "gpu", a number or a part of a name), "compat" ("corrected",
// "original"), "precision" ("f32", "f16"), "padding" of short audio ("zeros", "repeat"), "cpu_threads" and
// "decode_threads" (1 to 1024; one per core by default), "max_batch" (1 to 4096 clips), "pipeline_cache" and
// "known_devices" (folders). The first of each group of words is the default.
// For streams opened later, in seconds: "hop" between updates (0.05 to 3600; 1), "window" that an update describes (at
// most, and by default, one clip), "buffer" for audio that waits (4), time constant of "smoothing" (0, none).
// "every_hop": with "false", the default, hops are skipped if they would be late; with "true" each gives an update, for
// input that can wait.
tagwave_status tagwave_set(struct tagwave *handle,
                           const char *key,
                           const char *value);

// Sets a model file from memory, in place of the option "model"; the bytes are copied. [thread-safe]
tagwave_status tagwave_set_model(struct tagwave *handle,
                                 const uint8_t *bytes,
                                 size_t length);

// Sets the function that is told warnings about the device and the audio (short, silent, ...), or none. It runs during calls, on their threads, one at a time; it must not
// call tagwave with the same handle. [thread-safe]
tagwave_status tagwave_set_log(struct tagwave *handle,
                               TagwaveLog log,
                               void *user);

// Loads the model and opens the device; once per handle, but again after an error. Takes milliseconds on a CPU, and up to seconds on a GPU.
// [thread-safe]
tagwave_status tagwave_open(struct tagwave *handle);

// Cancels the calls that are running on the handle; they return TAGWAVE_STATUS_CANCELLED. [thread-safe]
void tagwave_cancel(const struct tagwave *handle);

// Sample rate of the model in Hz; 0 if it is not open. Audio of other rates is resampled. [thread-safe]
uint32_t tagwave_sample_rate(const struct tagwave *handle);

// Length of a clip in samples of the model; 0 if it is not open. [thread-safe]
size_t tagwave_clip_samples(const struct tagwave *handle);

// Number of labels, which is the number of scores; 0 if the model is not open. [thread-safe]
size_t tagwave_label_count(const struct tagwave *handle);

// The label of a score, or null; lives as long as the handle. [thread-safe]
const char *tagwave_label(const struct tagwave *handle,
                          size_t index);

// Number of values of an embedding; 0 if the model is not open. [thread-safe]
size_t tagwave_embedding_len(const struct tagwave *handle);

// Name of the device, or null; lives as long as the handle. [thread-safe]
const char *tagwave_device(const struct tagwave *handle);

// The message of the last error of this thread, empty without one; valid until the next failing call of the thread.
// [thread-safe]
const char *tagwave_last_error(void);

// Version of this interface: programs built for the same number work with the library. [thread-safe]
uint32_t tagwave_abi_version(void);

// Version of tagwave, such as "0.1.0". [thread-safe]
const char *tagwave_version(void);

// Opens a stream of audio with `channels` channels at `sample_rate` Hz, with the options set so far, and starts its
// thread. [thread-safe]
tagwave_status tagwave_stream_open(const struct tagwave *handle,
                                   uint32_t sample_rate,
                                   uint32_t channels,
                                   struct tagwave_stream **stream);

// Closes a stream; null is allowed. Waits for the window that is being computed. No other call may use the stream
// meanwhile. [one thread at a time]
void tagwave_stream_close(struct tagwave_stream *stream);

// Appends interleaved samples and returns the number of frames taken; the others did not fit the buffer. [audio thread]
size_t tagwave_stream_push(struct tagwave_stream *stream,
                           const float *samples,
                           size_t frames);

// As tagwave_stream_push, for 16-bit integers. [audio thread]
size_t tagwave_stream_push_i16(struct tagwave_stream *stream,
                               const int16_t *samples,
                               size_t frames);

// Discards what was heard so far, after a seek or a change of track: times begin at 0 again. [audio thread]
void tagwave_stream_reset(struct tagwave_stream *stream);

// Number of frames that can be pushed now. [audio thread]
size_t tagwave_stream_free_frames(const struct tagwave_stream *stream);

// Number of frames that did not fit the buffer so far. [audio thread]
uint64_t tagwave_stream_overrun_frames(const struct tagwave_stream *stream);

// Ends the input: after the last update, tagwave_stream_next returns TAGWAVE_STATUS_ENDED. Frees memory, so it is no
// function for an audio callback; no other function of the audio thread may run. [one thread at a time]
void tagwave_stream_end(struct tagwave_stream *stream);

// The next update, for which it waits at most `timeout_ms` milliseconds; without one in time, TAGWAVE_STATUS_PENDING.
// `times`, null or three values, gets the start and the end of the window and how much audio is in it, in seconds
// since the last reset. `marks`, null or two values, gets 1 if the window is silent, and the number of updates left out
// before this one because the device was too slow. A window that cannot be tagged is an error, and the stream goes on. An update whose arrays are too short is lost, and
// `times` and `marks` are not written on an error. Updates from before a reset are not given. [thread-safe]
tagwave_status tagwave_stream_next(const struct tagwave_stream *stream,
                                   uint32_t timeout_ms,
                                   double *times,
                                   uint64_t *marks,
                                   float *scores,
                                   size_t *score_count,
                                   float *embedding,
                                   size_t *embedding_count);

// Tags a file: scores in the order of the labels, 0 to 1, and the embedding. [thread-safe]
tagwave_status tagwave_tag_file(const struct tagwave *handle,
                                const char *path,
                                float *scores,
                                size_t *score_count,
                                float *embedding,
                                size_t *embedding_count);

// Tags interleaved samples, nominally in -1 to 1; otherwise as tagwave_tag_file. [thread-safe]
tagwave_status tagwave_tag_samples(const struct tagwave *handle,
                                   const float *samples,
                                   size_t frames,
                                   uint32_t channels,
                                   uint32_t sample_rate,
                                   float *scores,
                                   size_t *score_count,
                                   float *embedding,
                                   size_t *embedding_count);

// Tags many files in batches and calls `row` for each, in order, on the calling thread. A file that fails does not end
// the call. Returns TAGWAVE_STATUS_CANCELLED if `row` or tagwave_cancel ended it. [thread-safe]
tagwave_status tagwave_tag_files(const struct tagwave *handle,
                                 const char *const *paths,
                                 size_t count,
                                 TagwaveRow row,
                                 void *user);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TAGWAVE_H */
