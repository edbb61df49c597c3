package processor

import (
	"errors"

	"github.com/ea947076/checkpointstore"
)

// Lasting reports whether an error of a store will still be there at the next
// try: not authorized, no container, an argument that cannot be stored. All
// others pass: timeouts, throttling (429), failures of the service (5xx), of the
// network, and those that nobody can name. Nil does not last.
//
// It is what [Adapt] decides by, and fits [RunOptions].GiveUp.
func Lasting(err error) bool {
	return errors.Is(err, checkpointstore.ErrNotAuthorized) ||
		errors.Is(err, checkpointstore.ErrContainerNotFound) ||
		errors.Is(err, checkpointstore.ErrInvalidArgument)
}
