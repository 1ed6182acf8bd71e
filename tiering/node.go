package tiering

// Platform is a kind of processor on a node: "cpu", "cuda".
// (HeROfake, section II-A.)
type Platform struct {
	Type  string `json:"type"`
	Count int    `json:"count"`
}

// Addresses are a node's listening addresses, host:port. Empty: not offered.
type Addresses struct {
	Data string `json:"data,omitempty"` // QUIC frame links (UDP)
	API  string `json:"api,omitempty"`  // control-plane API, coordinators only
	Raft string `json:"raft,omitempty"` // Raft, coordinators only
	HTTP string `json:"http,omitempty"` // URL of metrics, pictures and MJPEG: http://… or https://…
	MQTT string `json:"mqtt,omitempty"` // URL of the MQTT broker that runs here
}

// Node is a machine that runs tasks: what it is and what it has in total.
// What is in use follows from the placements of a View.
type Node struct {
	ID        string     `json:"id"` // stable name, unique in the mesh
	Tier      Tier       `json:"tier"`
	Capacity  Resources  `json:"capacity"`
	Platforms []Platform `json:"platforms,omitempty"`
	Models    []string   `json:"models,omitempty"` // catalogue names it can load, sorted
	Addresses Addresses  `json:"addresses"`
	// Uplink is what the node's way up to the next tier carries, in bits a second;
	// 0: nobody said, and as much as there is to carry.
	Uplink  int64  `json:"uplink_bps,omitempty"`
	Version string `json:"version,omitempty"` // of weftd
}

// HasModel reports whether the node can load the model.
func (n *Node) HasModel(name string) bool {
	for _, m := range n.Models {
		if m == name {
			return true
		}
	}
	return false
}

// HasPlatform reports whether the node has a processor of the type; the empty
// type is any.
func (n *Node) HasPlatform(typ string) bool {
	if typ == "" {
		return true
	}
	for _, p := range n.Platforms {
		if p.Type == typ && p.Count > 0 {
			return true
		}
	}
	return false
}

// NodeStatus is what membership says of a node.
type NodeStatus string

// The statuses of a node.
const (
	NodeAlive  NodeStatus = "alive"
	NodeFailed NodeStatus = "failed" // stopped answering
	NodeLeft   NodeStatus = "left"   // said good-bye
)

// Member is a node as membership sees it now.
type Member struct {
	Node   Node       `json:"node"`
	Status NodeStatus `json:"status"`
	// Free is what the machine measures as unused, coarsely; for people and
	// for ties. What may be reserved follows from placements, not from this.
	Free Resources `json:"free"`
	// Fault is why the node's coordinator is out of service, in a few words;
	// empty: it is not, or there is none.
	Fault string `json:"fault,omitempty"`
}
