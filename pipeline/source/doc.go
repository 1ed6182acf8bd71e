// Package source makes a [pipeline.Source] of a source URI (see
// tiering/sourceuri): a video file, a directory of pictures, a network
// stream, a camera, the colour bars of videotest, a made street, an MQTT topic.
//
// The agent calls [Open] for each source placed on its node and hands the
// result to a pipeline.Feed, which numbers the frames and, when Run fails,
// runs it again after a while. A Source here never retries by itself.
//
//	scheme        frames   rate without Config.FPS   ends
//	video:        BGR      the file's own            ErrEnded, unless loop=true
//	images:       as is    1 a second                ErrEnded, unless loop=true
//	rtsp(s)://    BGR      as they arrive            error
//	http(s)://    BGR      as they arrive, or a      error; ErrEnded for a file
//	                       file's own
//	v4l2:         BGR      the camera's              error
//	videotest:    BGR      30 a second               never
//	street:       BGR      25 a second, or its fps   never
//	mqtt:         as is    as they arrive            error
//
// As is: the JPEG or PNG bytes, undecoded. Config.FPS leaves frames out; it
// never slows the input down and never repeats a frame. With start and loop,
// each round begins at start.
//
// # What is in a frame
//
// Frames of street:, and of images: with labels, say what they show
// (pipeline.Frame's Truth), by which detections are judged where they are made.
//
// A street: source numbers its frames itself: the number is when the frame was
// taken, in frames of the street's camera from 1, and the Feed keeps it as
// FrameID.Seq. Frames that are left out, because of Config.FPS or because the
// machine was too slow to draw them, have had their number.
//
// # Which files may be read
//
// A workflow comes over the network, so it must not name any file of the
// machine: paths are taken relative to Config.MediaDir and must stay in it,
// symbolic links included. Absolute paths are accepted where they lead into
// MediaDir, and everywhere with Config.AllowAnyPath.
//
// # OpenCV and FFmpeg
//
// Videos and streams are read by OpenCV's FFmpeg backend, through a few lines
// of C++ that catch every exception. A read can't be interrupted: it returns
// with the next frame or after Config.ReadTimeout. Run doesn't wait for that
// longer than a second after its context has ended; what is left ends by
// itself with the timeout, and the next Run waits for it. OpenCV opens one
// video at a time, so a stream that answers but sends nothing holds up others
// that are being opened for up to Config.OpenTimeout; it never holds up reads.
//
// FFmpeg watches an H.264 stream for up to 5 s before it plays it. The frames of
// that time are left out: they are old by then.
//
// FFmpeg and OpenCV write to standard error on their own; [Quiet] stops that.
package source
