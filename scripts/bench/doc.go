// Command bench measures parts of Weft and, in the same run, what they stand
// on, and tells ratios. It writes bench.json and, for a README, bench.md after
// each part, so that what was found before a failure or Ctrl-C stays. `make bench`
// builds and runs it; nothing else calls it.
//
// # How to read the figures
//
// All sides take turns, each time in another order, which is drawn but the same
// in each run, so that what else the machine does meets all of them and none
// always follows the same one; before each turn the garbage of the last is
// collected. The ratio is the median of the turns' ratios, told with the least and
// the greatest. Bigger is better whatever is measured: where less is better it
// is other over ours. Against a limit it is limit over ours, and the aim is 1.
// Where neither side achieves anything, no aim is met. Absolute figures mean little
// on a shared machine.
//
// # What is compared
//
// pipeline: a feed, three runners and the routers between them, as an agent
// sets them up on one node, against a loop that calls the same stages (decode,
// resize, HOG, draw and encode) one after the other. Once with OpenCV's threads
// as they are, once with one. With one the stages run side by side where the loop
// has a single core, so that frames a second say nothing of what the pipeline
// costs, and have no aim; the CPU time a frame does.
//
// link: [quic.Link] against a raw quic-go copy of the same bytes (a stream a
// frame, the same windows, nothing else), against gRPC client streaming of
// protobuf messages (one connection, a stream a camera, gRPC's own windows,
// which start at 64 kB and grow), and against frames behind their length over
// TCP with TLS 1.3 (a connection a camera, TCP_NODELAY). All use certificates
// of the same CA both ways (internal/pki), frames of 60 kB, and a new buffer a
// frame at both ends, which only the libraries copy. Throughput: senders that
// never wait, from the first frame until the last has arrived. Latency: four
// cameras at a fixed rate, half of what the slower of the link and its raw copy
// carried with four senders, counted from when a frame was due, so that a sender
// that is held up is late with the next frame too.
//
// lossy: one camera whose frames are of use for 200 ms, over the testbed's link
// with 1 % loss and 20 ms each way between two network namespaces. Every
// contender has the queue of an agent before it: four frames, newest first, late
// ones left out. All but the link, which knows what goes first, send one frame
// at a time: several would only share what there is. Those over TCP have
// TCP_NOTSENT_LOWAT at 16 kB, or the kernel would take frames that grow old
// before they leave. A turn is a new connection. What counts is the percentage
// of captured frames whole at the receiver before their deadline, on the
// machine's one clock. 1.8 MB/s are more than Reno, the only congestion control
// that quic-go has, carries at that loss (some 0.43 MB/s): there the link dials
// more connections, up to eight, where the others keep to one. 0.2 MB/s are
// less: there nearly all frames of all arrive, one frame of a turn is 2.5 %, and
// the aim of 0.97 leaves room for one. TCP uses Cubic, which is what Linux comes
// with; TCP with BBR, where the kernel has it, is told without an aim.
//
// placements: Coordinator.Submit of a workflow of a source and three tasks to a
// mesh of 100 nodes, against raft.Apply of entries of the same size to Raft
// with the same log store and a state machine that does nothing, over plain TCP
// with the library's settings. A workflow counts as its four placements on both
// sides. With one caller each commit waits for the disk; with eight the log is
// written for several at once, and what is left is the work of the state machine,
// which bare Raft does not have. The logs of both lie below -out, which has to be on
// a disk: in memory a commit costs nothing.
//
// idle: a weftd process that has joined a coordinator's mesh and has nothing to
// do: memory, and CPU time over 30 s. Resident memory misses its aim: a C program
// that only links Debian's OpenCV for pictures and videos has 67 MB resident,
// since imgcodecs and videoio bring 250 libraries with them (GDAL, FFmpeg,
// GStreamer, …), nearly all of it pages of files that all processes share and the
// kernel takes back at will. Without these libraries in the process that waits
// there is no way below; what the daemon itself takes is told beside it.
//
// members: 200 members of agent/gossip on loopback, and 200 of Serf with the
// settings it comes with for a LAN, with the same key and tags; all join at once,
// through the first. Three members are processes of their own, which are killed
// together. How soon that is known follows mostly from a setting, and no merit of
// code: weftd probes a member each 0.5 s and Serf each 1 s. What the shorter
// interval costs is the traffic, which is what memberlist gives to its sockets.
// Each mesh has 130 s; what Weft does not reach by then is told as the limit and
// meets no aim.
package main
