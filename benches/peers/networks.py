"""One epoch of training of the same networks by maury and by PyTorch, side by side, as a ratio of wall times.

    python3 benches/peers/networks.py                      # builds the bench first; some minutes
    python3 benches/peers/networks.py --python PYTHON      # another Python, which has `torch`

Both take turns on an otherwise idle machine; of all epochs the fastest counts. PyTorch is timed twice: with its default
Adam, and with the one it has as a single kernel.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
NETWORKS = ("linear", "mlp", "cnn")


def maury(network):
    """Fastest epoch in seconds."""
    command = ["cargo", "bench", "--quiet", "--bench", "networks", "--", f"one epoch/{network}"]
    subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sample = json.loads((PROJECT / "target/criterion/one epoch" / network / "new/sample.json").read_text())
    return min(time / epochs for time, epochs in zip(sample["times"], sample["iters"])) * 1e-9


def torch(python, network, fused, threads):
    """Fastest epoch in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "times.json"
        command = [python, HERE / "torch_networks.py", "--network", network, "--threads", str(threads), "--out", out]
        subprocess.run(command + ["--fused"] * fused, check=True, stdout=subprocess.DEVNULL)
        return json.loads(out.read_text())["steps"]["epoch"]["wall_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="a Python with torch")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch; maury takes all cores")
    arguments = parser.parse_args()
    print("| network | maury, s | PyTorch, s | ratio | PyTorch, fused Adam, s | ratio |\n|---|---|---|---|---|---|")
    for network in NETWORKS:
        own = maury(network)
        plain, fused = (torch(arguments.python, network, fused, arguments.threads) for fused in (False, True))
        cells = [network, f"{own:.3f}", f"{plain:.3f}", f"{plain / own:.2f}", f"{fused:.3f}", f"{fused / own:.2f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
