"""Shows a test pattern over RTSP until it is killed.

usage: rtspserver.py PORT ENCODER

PORT 0 takes a free one. ENCODER is the part of a GStreamer pipeline that
encodes and packs video, such as "jpegenc ! rtpjpegpay". The server prints its
URL when it is ready, and exits with status 77 when Debian's packages for it or
for the encoder are missing.
"""
import sys

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer
except (ImportError, ValueError) as err:
    print(err, file=sys.stderr)
    sys.exit(77)

port, encoder = sys.argv[1:]
Gst.init(None)
for element in ["videotestsrc"] + [part.split()[0] for part in encoder.split("!")]:
    if not Gst.ElementFactory.find(element):
        print(f"no GStreamer element {element}", file=sys.stderr)
        sys.exit(77)

server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=25/1"
    f" ! {encoder} name=pay0 )"
)
factory.set_shared(True)
server.get_mount_points().add_factory("/test", factory)
if server.attach(None) == 0:
    sys.exit("cannot listen")
print(f"rtsp://127.0.0.1:{server.get_bound_port()}/test", flush=True)
GLib.MainLoop().run()
