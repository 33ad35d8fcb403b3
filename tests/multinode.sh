#!/usr/bin/env bash
# Two machines, for real as far as the network goes: two network namespaces with addresses of their
# own, joined by a virtual cable, train together under torchrun; one of them is killed and brought
# back. Compared with one process on one machine. Needs root for `ip netns`.
#   tests/multinode.sh
set -euo pipefail
cd "$(dirname "$0")/.."
if ! ip netns add liif-probe 2>/dev/null; then
    echo "skipped: network namespaces cannot be made here (needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN)"
    exit 0
fi
ip netns delete liif-probe

folder=$(mktemp -d)
# All processes of one machine; torchrun's workers have sessions of their own.
power_off() { ip netns pids "liif-$1" 2>/dev/null | xargs -r kill -KILL || true; }
finish() {
    if [ $? -ne 0 ]; then tail -n 15 "$folder"/*.log; fi
    power_off a && power_off b
    ip netns delete liif-a 2>/dev/null || true
    ip netns delete liif-b 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

ip netns add liif-a
ip netns add liif-b
ip link add liif-va netns liif-a type veth peer name liif-vb netns liif-b
ip -n liif-a addr add 10.77.0.1/24 dev liif-va
ip -n liif-b addr add 10.77.0.2/24 dev liif-vb
for side in a b; do
    ip -n "liif-$side" link set lo up
    ip -n "liif-$side" link set "liif-v$side" up
done

cat >"$folder/c.yaml" <<'YAML'
model:
  encoder: {name: edsr-baseline, blocks: 2, width: 16}
  decoder: {name: liif, hidden: [32, 32]}
train_data: {sampling: random-scale, images: "builtin:train", cache: memory, patch: 16, queries: 128}
valid: {images: "builtin:test", scales: [2], crop: 96, every: 100}
steps: 200
batch_size: 8
learning_rate: 1.0e-4
milestones: []
workers: 0
log_every: 1
save_every: 10
YAML
train=("$PWD/scripts/train.py" --config c.yaml --device cpu)
cd "$folder"

# node SIDE NAME: torchrun on one of the two machines, in the background; its process id in $node
node() {
    local address=10.77.0.2 host=false
    if [ "$1" = a ]; then address=10.77.0.1 host=true; fi
    # Without the second variable PyTorch (2.15) tells a machine that comes back
    # nothing of the store that the others met at, and the restart times out.
    ip netns exec "liif-$1" env OMP_NUM_THREADS=1 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 \
        GLOO_SOCKET_IFNAME="liif-v$1" \
        torchrun --nnodes 2 --nproc-per-node 1 --max-restarts 5 --rdzv-id "$2" \
        --rdzv-backend c10d --rdzv-endpoint 10.77.0.1:29411 --local-addr "$address" \
        --rdzv-conf "is_host=$host,join_timeout=120,last_call_timeout=3" \
        "${train[@]}" --name "$2" >>"$1-$2.log" 2>&1 &
    node=$!
}
step() { grep -c '"kind": "train"' "runs/$1/metrics.jsonl" 2>/dev/null || true; } # nothing: none yet
wait_for() {
    for _ in $(seq 600); do
        if [ "$(step "$1" | grep . || echo 0)" -ge "$2" ]; then return; fi
        sleep 0.2
    done
    echo "no progress of $1:" && tail -n 20 ./*-"$1".log && exit 1
}

echo "one process on one machine"
OMP_NUM_THREADS=1 python "${train[@]}" --name one >one.log 2>&1

echo "two machines"
node a two && first=$node
node b two && second=$node
wait "$first" "$second"

echo "two machines, of which one is killed and brought back"
node a killed && first=$node
node b killed && second=$node
wait_for killed 60
power_off b
wait "$second" 2>/dev/null || true
echo "  killed at step $(step killed)"
sleep 20  # a machine takes longer to come back; by then the other has noticed
node b killed && second=$node
wait "$first" "$second"

python - <<'PYTHON'
import json

def losses(run):
    lines = map(json.loads, open(f"runs/{run}/metrics.jsonl"))
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]

one = losses("one")
assert [step for step, _ in one] == list(range(1, 201))
for run in ("two", "killed"):
    other = losses(run)
    assert [s for s, _ in other] == [s for s, _ in one], f"{run}: steps missing or doubled"
    largest = max(abs(a - b) for (_, a), (_, b) in zip(one, other))
    print(f"{run}: 200 steps, largest difference of a loss from one machine {largest:.1e}")
    assert largest < 1e-4
PYTHON
grep -h "resumes at step" a-killed.log | tail -1
echo passed
