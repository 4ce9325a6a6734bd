# Weston on the display, by OpenGL, and a client that draws by OpenGL, too. Says what
# Weston draws with when both are there. No udev, no logind: a test guest has none.
#
# SPDX-License-Identifier: MIT
export XDG_RUNTIME_DIR=/run/desktop
rm -rf "$XDG_RUNTIME_DIR"
tty=$(weston --help | grep -q -e --tty && echo --tty=2)  # later ones find one themselves
mkdir -p -m 700 "$XDG_RUNTIME_DIR"
weston --backend=drm-backend.so --drm-device=card0 $tty --continue-without-input \
    --idle-time=0 --log=/run/weston.log >/dev/null 2>&1 </dev/null &
for _ in $(seq 600); do
    socket=$(cd "$XDG_RUNTIME_DIR" && ls | grep -m 1 '^wayland-[0-9]*$') && break
    sleep 0.1
done
WAYLAND_DISPLAY=$socket weston-simple-egl >/dev/null 2>&1 </dev/null &
grep 'GL renderer' /run/weston.log
