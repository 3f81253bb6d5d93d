"""The music to learn from: free music of Debian packages, and extra folders, as 12 kHz mono WAV files.

    python music.py CORPUS --keep-out keep-out.tsv [--extra FOLDER]

Writes CORPUS/wav/<id>.wav and CORPUS/tracks.tsv (id, package, path, author, split). Whole authors, where a
file names one, and whole packages otherwise, are kept on one side of the split. Needs apt-get, dpkg-deb,
unzip, ffmpeg and, for the MIDI files, fluidsynth with a few General MIDI soundfonts.
"""

import argparse
import concurrent.futures
import csv
import hashlib
import json
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
RATE = 12000
RECORDED = {".ogg", ".oga", ".mp3", ".opus", ".flac"}
MODULES = {".mod", ".xm", ".it", ".s3m"}
MIDI = {".mid", ".midi"}
SOUNDFONTS = [
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/sounds/sf3/MuseScore_General_Lite.sf3",
    "/usr/share/sounds/sf2/TimGM6mb.sf2",
    "/usr/share/sounds/sf2/OPL-3_FM_128M.sf2",
]
# A clip lasts 29.12 s; shorter pieces are jingles, and much of a clip would be silence.
SHORTEST_SECONDS = 20
# One piece gives at most this much, so that no long mix outweighs the rest.
LONGEST_SECONDS = 420
# Groups of one author larger than this stay in training: validation should be many authors.
LARGEST_VALIDATION_GROUP = 24


def unpack(corpus):
    """Downloads and unpacks every package of packages.txt that is not there yet."""
    debs, unpacked = corpus / "deb", corpus / "x"
    debs.mkdir(parents=True, exist_ok=True)
    unpacked.mkdir(exist_ok=True)
    for line in (HERE / "packages.txt").read_text().splitlines():
        package = line.strip()
        if not package or package.startswith("#") or (unpacked / package).exists():
            continue
        if not list(debs.glob(f"{package}_*.deb")):
            subprocess.run(["apt-get", "download", "-qq", package], cwd=debs, check=False)
        found = sorted(debs.glob(f"{package}_*.deb"))
        if not found:
            print(f"{package}: not available, left out")
            continue
        # Unpacked under another name first: an interrupted run must not leave half a package behind.
        folder = unpacked / f".{package}"
        subprocess.run(["dpkg-deb", "-x", found[-1], folder], check=True)
        for archive in [*folder.rglob("*.pk3"), *folder.rglob("*.zip")]:
            wanted = [f"*{suffix}" for suffix in sorted(RECORDED)]
            subprocess.run(["unzip", "-qq", "-o", archive, *wanted, "-d", folder / "unpacked"], check=False)
        folder.rename(unpacked / package)


def key(text):
    """A stable number for `text`: the same split on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def probe(path):
    """Seconds and author of a recorded file, by what its container says."""
    out = subprocess.run(
        ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "format=duration:format_tags:stream_tags", path],
        capture_output=True, text=True, check=False,
    ).stdout
    found = json.loads(out or "{}")
    tags = dict(found.get("format", {}).get("tags", {}))
    for stream in found.get("streams", []):
        tags.update(stream.get("tags", {}))
    author = next((v for k, v in tags.items() if k.lower() == "artist"), "")
    return float(found.get("format", {}).get("duration", 0) or 0), " ".join(author.lower().split())


def pieces(corpus, extra):
    """(package, path) of every file that may be music."""
    found = []
    for package in sorted((corpus / "x").iterdir()):
        for path in sorted(p for p in package.rglob("*") if p.is_file() and not p.is_symlink()):
            kind = path.suffix.lower()
            if kind in MODULES | MIDI or (kind in RECORDED and path.stat().st_size > 150_000):
                # Charts for a game, not music.
                if path.name != "notes.mid":
                    found.append((package.name, path))
    for folder in extra:
        found += [("extra", p) for p in sorted(Path(folder).rglob("*")) if p.suffix.lower() in RECORDED | {".wav"}]
    return found


def kept_out(path):
    """What keep-out.tsv says in one comparable form: (package, stem), for renditions too."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {(row["package"], Path(row["file"]).stem.lower()) for row in rows} | {
        ("", Path(row["file"]).stem.lower()) for row in rows if row["file"].startswith("render/")
    }


def is_kept_out(package, path, keep_out):
    names = {path.stem.lower(), path.parent.name.lower()}
    return any((package, name) in keep_out or ("", name) in keep_out for name in names)


def render(source, target):
    """Any of the kinds of file to a 12 kHz mono WAV file; False when nothing came of it."""
    if target.exists():
        return True
    part = target.with_suffix(".part.wav")
    path = source
    if source.suffix.lower() in MIDI:
        path = target.with_suffix(".midi.wav")
        font = SOUNDFONTS[key(source.name) % len(SOUNDFONTS)]
        command = ["fluidsynth", "-ni", "-q", "-g", "0.6", "-r", "24000", "-F", path, font, source]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300, check=False)
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", path, "-t", str(LONGEST_SECONDS), "-map", "0:a:0",
               "-ac", "1", "-ar", str(RATE), "-c:a", "pcm_s16le", part]
    subprocess.run(command, stderr=subprocess.DEVNULL, timeout=300, check=False)
    if path != source:
        path.unlink(missing_ok=True)
    if not part.exists() or part.stat().st_size < SHORTEST_SECONDS * RATE * 2:
        part.unlink(missing_ok=True)
        return False
    os.replace(part, target)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--keep-out", type=Path, help="table of tracks (package, file) that no training may hear")
    parser.add_argument("--extra", action="append", default=[], help="another folder of music")
    args = parser.parse_args()
    unpack(args.corpus)
    keep_out = kept_out(args.keep_out) if args.keep_out else set()
    wav = args.corpus / "wav"
    wav.mkdir(exist_ok=True)

    def prepare(piece):
        package, path = piece
        if is_kept_out(package, path, keep_out):
            return None
        name = f"{package}-{key(str(path.name) + str(path.stat().st_size)):016x}"
        author = probe(path)[1] if path.suffix.lower() in RECORDED else ""
        try:
            done = render(path, wav / f"{name}.wav")
        except subprocess.TimeoutExpired:
            done = False
        if not done:
            return None
        inside = path.relative_to(args.corpus / "x") if package != "extra" else Path(path.name)
        return name, package, str(inside), author

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = [row for row in pool.map(prepare, pieces(args.corpus, args.extra)) if row]
    # The same file in two packages is one track.
    rows = list({row[0].split("-")[-1]: row for row in rows}.values())
    groups = {}
    for row in rows:
        groups.setdefault(row[3] or row[1], []).append(row)
    with open(args.corpus / "tracks.tsv", "w", newline="") as file:
        out = csv.writer(file, delimiter="\t", lineterminator="\n")
        out.writerow(["id", "package", "path", "author", "split"])
        for group, members in sorted(groups.items()):
            held = key(f"split 1 {group}") % 8 == 0 and len(members) <= LARGEST_VALIDATION_GROUP
            for row in members:
                out.writerow([*row, "validation" if held else "training"])
    print(f"{len(rows)} tracks of {len(groups)} authors or packages")


if __name__ == "__main__":
    main()
