// Package dnslabel says what may be the name of a node, a mesh, a workflow, a
// stage or a token: a label of the domain name system (RFC 1123) in lower case.
// Such a name is also part of a host name, a file name and an MQTT topic.
package dnslabel

// maxLen is the length of the longest label, in bytes (RFC 1035, section 2.3.4).
const maxLen = 63

// Valid reports whether the name is a label: 1 to 63 lower-case letters, digits
// and hyphens, with no hyphen at either end.
func Valid(name string) bool {
	if len(name) == 0 || len(name) > maxLen || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
