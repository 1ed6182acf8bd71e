// Package sourceuri reads the URIs that say where a source's frames come from:
//
//	video:PATH      a video file        options: loop=true, start=40s
//	images:DIR      a picture directory options: loop=true, labels=coco.names
//	rtsp://…        a network camera    no options; rtsps:// with TLS
//	http://…        an HTTP stream      no options; https:// with TLS
//	v4l2:DEVICE     a local camera      options: width=640, height=480
//	videotest:      moving colour bars  options: width=640, height=480
//	street:         a made street       options: seed=7, fps=25, density=100,
//	                                             width=960, height=720
//	mqtt:TOPIC      frames published on an MQTT topic
//
// With labels, a file of class names, what is in the pictures of images:DIR is read
// from the directory labels beside DIR: for a/images/7.jpg from a/labels/7.txt.
//
// Options are query parameters: video:vtest.avi?loop=true&start=40s. A PATH,
// DIR, DEVICE or TOPIC is written as it is, without percent-encoding, and ends
// at the first question mark. Of a network URL, everything belongs to the URL.
//
// The package is pure: the workflow document is checked with it, and
// pipeline/source opens what it returns.
package sourceuri
