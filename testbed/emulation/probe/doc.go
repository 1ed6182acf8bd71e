// Package probe measures emulated links before a run, so that an experiment
// does not report on a network other than the one it was asked for. It sends
// UDP datagrams between sockets in the nodes' network namespaces, all in this
// process and on its one clock:
//
//   - Round trips of every pair, interleaved. The responder says how long it
//     held a probe, and arrivals are stamped by the kernel, so that what Go's
//     scheduler adds counts for nothing. Their median has to be within 10 % or
//     0.3 ms, whichever is larger, of what was asked.
//   - The spread of round trips, where jitter was asked.
//   - Loss, of small packets well below the link's rate. What was asked has to
//     lie in the exact binomial interval of Clopper and Pearson (Biometrika 26,
//     1934). A link without loss may lose 0.5 %: that much a busy machine does.
//   - Throughput of links up to 1 Gbit/s, at 1.1 times the rate asked, so that
//     both a slower and a faster link shows; it has to be within 5 %. Slow links
//     are measured side by side, fast ones alone.
//   - That nothing passes where the topology says so.
//
// Levels of confidence are for the whole run: with any number of links, one of
// a thousand runs over links as asked finds fault with a random quantity. What
// fails is measured again before it is believed. The length of queues is not
// checked.
//
// Only testbed/emulation imports it. It needs Linux; what it may do in a
// namespace is the caller's to arrange.
package probe
