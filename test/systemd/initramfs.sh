# Writes the initramfs $INITRAMFS from the modules and the busybox of a folder, and the disk $DISK from an overlay over
# $ROOT. It runs in a mount namespace of its own.
set -eu
mount -t overlay overlay -o "lowerdir=$ROOT,upperdir=$UPPER,workdir=$WORK" "$MERGED"
mke2fs -q -t ext4 -d "$MERGED" "$DISK" 1200M
cd "$FOLDER"
mkdir dev root
cat >init <<'EOF'
#!/busybox sh
/busybox mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
	/busybox insmod "$module"
done
until /busybox mount -t ext4 /dev/vda /root; do
	/busybox sleep 1
done
exec /busybox switch_root /root /sbin/init
EOF
chmod 755 init busybox
find . | ./busybox cpio -o -H newc 2>/dev/null | gzip -1 >"$INITRAMFS"
