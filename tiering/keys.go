package tiering

// NodeKeys are the gossip keys that a node has, by their fingerprints.
type NodeKeys struct {
	Node string `json:"node"`
	// Keys are fingerprints, that of the key it encrypts with first. None: it
	// did not say.
	Keys []string `json:"keys"`
}

// KeyRotation is how far an exchange of the gossip key has come.
type KeyRotation struct {
	Key   string     `json:"key"` // fingerprint of the new one
	Done  bool       `json:"done"`
	Why   string     `json:"why,omitempty"` // not done
	Nodes []NodeKeys `json:"nodes"`         // that are alive, by name
}
