// Package gossip is the mesh's membership, over hashicorp/serf.
//
// Each node gossips, encrypted, a few tags: who and where it is, what it has
// in total and, coarsely, what of that is free ([Gossip.SetFree], with
// hysteresis). Serf allows 512 bytes for them, so nothing large travels here:
// plans and reports go over the control plane's API. Serf's network
// coordinates estimate the round trip between any two nodes.
//
// Names of models are told in full while they fit, and otherwise by the start of
// their digests, which those who know the names read ([Config.Known]). Where even
// that is too much, the models that the mesh wants the node to have come first.
//
// The tags carry the version of their meaning ("v"). Tags may be added, which
// older nodes do not look at; whatever they must not misread raises the
// version, and nodes of different versions do not see each other as members.
//
// A mesh has a name that every node checks before it merges with another, so
// a wrong address cannot weld two meshes together.
//
// cmd/weftd is the only caller; the coordinator sees members through an
// interface of its own.
package gossip
