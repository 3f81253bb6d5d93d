#!/bin/sh
# Client of `tagwave serve`: tags the audio files of a folder that have no answer yet, and keeps each answer as SONG.tags.json.
# A media server runs it after it has added files.
#
#   tagwave serve --root ~/Music &
#   examples/tag_new_files.sh ~/Music
#
# TAGWAVE_SERVER has another address, TAGWAVE_TOKEN the token of a server that needs one. Needs curl.
set -eu
folder=${1:?usage: tag_new_files.sh FOLDER}
server=${TAGWAVE_SERVER:-http://127.0.0.1:7433}
# An empty array of options does not exist in sh: a header without a value is left out by curl.
authorization="Authorization:${TAGWAVE_TOKEN:+ Bearer $TAGWAVE_TOKEN}"

find "$folder" -type f \( -iname '*.mp3' -o -iname '*.flac' -o -iname '*.ogg' -o -iname '*.opus' -o -iname '*.m4a' -o -iname '*.wav' \) |
while IFS= read -r song; do
    answer=$song.tags.json
    [ -e "$answer" ] && continue
    # A full queue is answered with 503, which curl repeats.
    if curl --silent --show-error --fail --retry 5 --header "$authorization" \
        --header 'Content-Type: application/octet-stream' --data-binary "@$song" \
        --output "$answer.part" "$server/tag?top=5"; then
        mv "$answer.part" "$answer"
        printf 'tagged %s\n' "$song"
    else
        rm -f "$answer.part"
        printf 'failed %s\n' "$song" >&2
    fi
done
