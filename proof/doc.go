// Package proof has tests only: the store under faults, checked against what it promises. See README.md.
package proof
