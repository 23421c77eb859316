# Boots the tree in $MERGED, an overlay over $ROOT, with systemd-nspawn. It runs in a mount namespace of its own.
set -eu
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# Without a control group of its own, the boot hangs for a minute.
group=/sys/fs/cgroup/ebpf-upgrader-test-systemd-$$
mkdir "$group"
leave() {
	echo $$ >/sys/fs/cgroup/cgroup.procs
	find "$group" -depth -type d -exec rmdir {} \;
}
trap leave EXIT
echo $$ >"$group/cgroup.procs"
mount -t overlay overlay -o "lowerdir=$ROOT,upperdir=$UPPER,workdir=$WORK" "$MERGED"
systemd-nspawn --quiet --directory="$MERGED" --machine=ebpf-upgrader-test --boot --register=no --keep-unit --capability=all \
	--system-call-filter="bpf perf_event_open" --private-network --console=pipe \
	systemd.show_status=0 systemd.log_level=warning </dev/null
