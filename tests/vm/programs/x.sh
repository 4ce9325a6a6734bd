# X on the display, by the modesetting driver and OpenGL (glamor), and a client's window.
# Says what X draws with. No udev, no logind, no input: a test guest has none.
#
#     x.sh FILE       the window's scene, as x_window.py has it
#
# SPDX-License-Identifier: MIT
cat >/run/xorg.conf <<END
Section "ServerFlags"
    Option "AutoAddDevices" "false"
    Option "AutoAddGPU" "false"
EndSection
Section "Device"
    Identifier "gpu"
    Driver "modesetting"
    Option "kmsdev" "/dev/dri/card0"
    Option "AccelMethod" "glamor"
EndSection
END
Xorg :0 -config /run/xorg.conf -logfile /run/xorg.log -nolisten tcp -noreset -nocursor vt2 >/dev/null 2>&1 </dev/null &
server=$!
for _ in $(seq 600); do
    [ -S /tmp/.X11-unix/X0 ] && break
    kill -0 $server || { tail -n 20 /run/xorg.log; exit 1; }
    sleep 0.1
done
DISPLAY=:0 python3 /mnt/x_window.py "$1"
status=$?
grep -i 'glamor.*\(renderer\|virgl\|X acceleration\)' /run/xorg.log
kill $server
wait $server
exit $status
