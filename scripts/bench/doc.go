// Command bench measures parts of Weft and, in the same run, what they stand
// on, and tells ratios. It writes bench.json and, for a README, bench.md. `make
// bench` builds and runs it; nothing else calls it.
//
// # How to read the figures
//
// Both sides take turns, A B A B …, so that what else the machine does meets
// both; the ratio is the median of the turns' ratios, told with the least and
// the greatest. Bigger is better whatever is measured: where less is better it
// is other over ours. Against a limit it is limit over ours, and the aim is 1.
// Absolute figures mean little on a shared machine.
//
// # What is compared
//
// pipeline: a feed, three runners and the routers between them, as an agent
// sets them up on one node, against a loop that calls the same stages (decode,
// resize, HOG, draw and encode) one after the other. Once with OpenCV's threads
// as they are, once with one, where the stages can run side by side.
//
// link: [quic.Link] against a raw quic-go copy of the same bytes (a stream a
// frame, the same windows, nothing else), against gRPC client streaming of
// protobuf messages (one connection, a stream a camera, gRPC's own windows,
// which start at 64 kB and grow), and against frames behind their length over
// TCP with TLS 1.3 (a connection a camera, TCP_NODELAY). All use certificates
// of the same CA both ways (internal/pki), frames of 60 kB, and a new buffer a
// frame at both ends. Throughput: senders that never wait, from the first frame
// until the last has arrived. Latency: four cameras at a fixed rate, half of
// what the slower of the link and its raw copy carried with four senders,
// counted from when a frame was due, so that a sender that is held up is late
// with the next frame too.
//
// lossy: one camera whose frames are of use for 200 ms, over the testbed's link
// with 1 % loss and 20 ms each way between two network namespaces. Every
// contender has the queue of an agent before it: four frames, newest first, late
// ones left out. A turn is a new connection. What counts is the percentage of
// captured frames whole at the receiver before their deadline, on the machine's
// one clock. 1.8 MB/s are more than Reno, the only congestion control that
// quic-go has, carries at that loss (some 0.43 MB/s). TCP uses Cubic, which is what Linux comes with; TCP with BBR, where
// the kernel has it, is told without an aim.
//
// placements: Coordinator.Submit of a workflow of a source and three tasks to a
// mesh of 100 nodes, against raft.Apply of entries of the same size to Raft
// with the same log store and a state machine that does nothing, over plain TCP
// with the library's settings. A workflow counts as its four placements on both
// sides. With one caller each commit waits for the disk; with eight the log is
// written for several at once, and what is left is the work of the state machine,
// which bare Raft does not have.
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
// settings it comes with for a LAN, with the same key and tags. Three members
// are processes of their own, which are killed one after the other. Traffic is
// what memberlist gives to its sockets.
package main
