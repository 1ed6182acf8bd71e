// Package yamlfile reads Weft's YAML files strictly: an unknown key, a wrong
// type, a key given twice or broken syntax is a [Problem] that names the file,
// line, column and field and says what would be right. As many problems as can
// be told apart are reported at once.
//
// A [Document] remembers where every field stands, so that the checks which
// come after decoding (does this model exist, is the task graph acyclic) point
// at the same places.
//
// What is read is the plain part of YAML 1.2: mappings, lists and scalars.
// Anchors, aliases, merge keys, tags, complex keys and several documents in
// one file are refused: a file says what it means where it stands, and its size
// bounds the work of reading it.
//
// Any package may import yamlfile.
package yamlfile
