#!/usr/bin/env bash
# Puts together the libtorch folder that `--features tch` is built against, CPU only, from PyPI's Python wheels:
#
#   eval "$(tests/backends/libtorch.sh ~/libtorch-2.9.0)"    # downloads 910 MB, keeps 450; sets LIBTORCH and the rest
#   cargo build --release --features tch
#
# Where download.pytorch.org can be reached, its "libtorch-shared-with-deps-2.9.0+cpu.zip", unpacked, serves as well.
# PyPI's torch expects CUDA, of which its CPU library really needs two small libraries, and a libtorch.so that pulls in
# the CUDA half, for which an empty one stands in here.
#
# stdout holds only the `export` lines, so that `eval` takes them; a finished folder is left as it is.
set -euo pipefail

readonly TORCH=2.9.0 CUDA=12.8.90
# Wheel, and what it must be: sha256 as PyPI lists it.
readonly WHEELS=(
    "torch==$TORCH 51de31219c97c51cf4bf2be94d622e3deb5dcc526c6dc00e97c17eaec0fc1d67"
    "nvidia-cuda-runtime-cu12==$CUDA adade8dcbd0edf427b7204d480d6066d33902cab2a4707dcfc48a2d0fd44ab90"
    "nvidia-cuda-cupti-cu12==$CUDA ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182"
)

say() { echo "libtorch.sh: $*" >&2; }
fail() { say "$*"; exit 1; }
usage() {
    echo "usage: $0 [--wheels FOLDER] DEST"
    echo "  --wheels FOLDER   take the wheels from here instead of downloading them:"
    local wheel
    for wheel in "${WHEELS[@]}"; do echo "                    ${wheel% *}"; done
}

wheels='' dest=''
while (($#)); do
    case $1 in
    --wheels) (($# > 1)) || fail "--wheels needs a folder"; wheels=$2; shift 2 ;;
    -h | --help) usage; exit ;;
    -*) usage >&2; fail "no option $1" ;;
    *) [[ -z $dest ]] || fail "one DEST, not both $dest and $1"; dest=$1; shift ;;
    esac
done
dest=${dest%/}
[[ -n $dest ]] || { usage >&2; fail "DEST is missing"; }
[[ -z $wheels || -d $wheels ]] || fail "no folder $wheels"
[[ $(uname -sm) == 'Linux x86_64' ]] || fail "these wheels are for Linux on x86_64, this is $(uname -sm)"
for program in python3 cc sha256sum; do
    command -v "$program" >/dev/null || fail "needs $program"
done

print_exports() {
    local folder
    folder=$(cd "$dest" && pwd)
    printf 'export LIBTORCH=%q LIBTORCH_CXX11_ABI=1 LD_LIBRARY_PATH=%q${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\n' \
        "$folder" "$folder/lib"
}

# torch-sys reads build-version too, and refuses another version than its own. It is written last.
if [[ -f $dest/build-version ]]; then
    [[ $(<"$dest/build-version") == "$TORCH" ]] || fail "$dest holds another libtorch; name a new folder"
    say "$dest is ready"
    print_exports
    exit
fi
if [[ -e $dest && (! -d $dest || -n $(ls -A "$dest")) ]]; then
    fail "$dest exists and is not a libtorch folder of ours; name a new one"
fi

mkdir -p "$(dirname "$dest")"
part=$(mktemp -d "$dest.part-XXXXXX")
trap 'rm -rf "$part"' EXIT
mkdir "$part/lib" "$part/wheels"

if [[ -z $wheels ]]; then
    wheels=$part/wheels
    say "downloading ${#WHEELS[@]} wheels, 910 MB"
    for wheel in "${WHEELS[@]}"; do
        python3 -m pip download --quiet --no-deps --only-binary=:all: --implementation cp --python-version 3.11 \
            --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --dest "$wheels" "${wheel% *}" >&2 ||
            fail "pip could not download ${wheel% *}"
    done
fi

# unpack SPEC SUM PATTERN...: members of a checked wheel that match, from their folder include or lib on.
unpack() {
    local spec=$1 sum=$2 name file
    name=${spec%==*}
    file=$(find "$wheels" -maxdepth 1 -name "${name//-/_}-${spec#*==}-*x86_64.whl" | sort | head -n 1)
    [[ -n $file ]] || fail "$wheels holds no wheel of $spec for x86_64"
    say "unpacking $(basename "$file")"
    sha256sum --check --status <<<"$sum  $file" || fail "$file is damaged, or another build: its sha256 is not $sum"
    python3 - "$file" "$part" "${@:3}" <<'PYTHON'
import fnmatch, pathlib, shutil, sys, zipfile

wheel, part, patterns = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
archive = zipfile.ZipFile(wheel)
for pattern in patterns:
    members = [name for name in archive.namelist() if fnmatch.fnmatch(name, pattern) and not name.endswith("/")]
    if not members:
        sys.exit(f"{wheel}: no {pattern} inside")
    for name in members:
        inside = name.split("/")
        root = next(depth for depth, folder in enumerate(inside) if folder in ("include", "lib"))
        target = part.joinpath(*inside[root:])
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(name) as source, open(target, "wb") as sink:
            shutil.copyfileobj(source, sink)
PYTHON
}
read -r spec sum <<<"${WHEELS[0]}"
unpack "$spec" "$sum" 'torch/include/*' torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/lib/libgomp.so.1
read -r spec sum <<<"${WHEELS[1]}"
unpack "$spec" "$sum" 'nvidia/cuda_runtime/lib/libcudart.so.12'
read -r spec sum <<<"${WHEELS[2]}"
unpack "$spec" "$sum" 'nvidia/cuda_cupti/lib/libcupti.so.12'
cc -shared -Wl,-soname,libtorch.so -o "$part/lib/libtorch.so" -x c /dev/null

echo "$TORCH" >"$part/build-version"
rm -rf "$part/wheels"
chmod 755 "$part"
[[ -d $dest ]] && rmdir "$dest"
mv "$part" "$dest"
say "$dest is ready; build with \`cargo build --release --features tch\`"
print_exports
