// Package gallery keeps the newest annotated pictures of each source on disk,
// up to a limit, and shows them over HTTP: the latest ones as a Motion JPEG
// stream, those kept as files.
//
// Whoever draws (the Draw stage of pipeline/vision, through the agent) calls
// [Gallery.Add]; the agent mounts [Gallery.Handler]. Adding never waits for a
// reader: a reader that is slower than the source misses pictures.
//
// # On disk
//
//	<dir>/<workflow>/<source>/20261105T081530.123456789Z-00000000000000000042.jpg
//
// The name is the time (UTC) and the frame's sequence number, so names sort in
// the order of addition. A picture is written under a temporary name and
// renamed: a file with its final name is whole. Pictures of earlier runs count
// towards the limit. Workflow and source must be DNS labels, and every path is
// resolved inside Dir by [os.Root], symbolic links included.
//
// The handler does no authentication: its caller does.
package gallery
