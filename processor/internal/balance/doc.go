// Package balance decides which partitions an owner claims and gives up.
package balance
