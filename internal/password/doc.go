// Package password keeps and checks the passwords of those who have no
// certificate of the mesh: as bcrypt hashes, which are slow to check on purpose.
//
// Any package may import it.
package password
