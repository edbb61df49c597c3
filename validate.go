package checkpointstore

import (
	"errors"

	"github.com/ea947076/checkpointstore/internal/layout"
	"github.com/ea947076/checkpointstore/internal/redact"
)

// The checks of arguments, which every store makes before anything else.

// ValidateClaims is for authors of stores, who call it first in ClaimOwnership. It
// returns an error of the kind [ErrInvalidArgument] if one of the records is not
// valid (see [Ownership.Validate]), or if two of them claim the same partition of
// the same scope. Scopes are compared ignoring the case of A to Z.
func ValidateClaims(ownerships []Ownership) error {
	return validateClaims(ownerships, layout.Scope.Lower)
}

// validateClaims is [ValidateClaims] for a store that spells scopes in its own way.
func validateClaims(ownerships []Ownership, spell func(layout.Scope) layout.Scope) error {
	type partition struct {
		scope layout.Scope
		id    string
	}
	asked := make(map[partition]bool, len(ownerships))
	var verbatim, spelled layout.Scope // of the claim before, and nearly always of all
	for _, o := range ownerships {
		if err := o.Validate(); err != nil {
			return err
		}
		if scope := o.scope(); scope != verbatim {
			verbatim, spelled = scope, spell(scope)
		}
		p := partition{spelled, o.PartitionID}
		if asked[p] {
			return invalid(o.PartitionID, errors.New("the partition is asked for twice in one call"))
		}
		asked[p] = true
	}
	return nil
}

// ValidateScope is for authors of stores, who call it first in ListOwnership and
// ListCheckpoints. It returns an error of the kind [ErrInvalidArgument] if a store
// cannot hold records of that namespace, event hub and consumer group.
func ValidateScope(fullyQualifiedNamespace, eventHubName, consumerGroup string) error {
	scope := scopeOf(fullyQualifiedNamespace, eventHubName, consumerGroup)
	return invalid("", scope.Check())
}

func scopeOf(fullyQualifiedNamespace, eventHubName, consumerGroup string) layout.Scope {
	return layout.Scope{Namespace: fullyQualifiedNamespace, EventHub: eventHubName, ConsumerGroup: consumerGroup}
}

func checkPartition(scope layout.Scope, id string) error {
	if err := scope.Check(); err != nil {
		return err
	}
	return scope.CheckPartition(id)
}

// invalid turns an error of layout into an [Error]. It returns nil for nil. If the
// partition ID contains a credential, the credential is removed.
func invalid(partitionID string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{PartitionID: redact.Secrets(nil).Text(partitionID), Kind: ErrInvalidArgument, Detail: err.Error()}
}
