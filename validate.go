package checkpointstore

import (
	"errors"

	"github.com/ea947076/checkpointstore/internal/layout"
	"github.com/ea947076/checkpointstore/internal/redact"
)

// Checks of arguments, for all stores to use before they do anything else.

// ValidateClaims returns an error of the kind [ErrInvalidArgument] if a store
// cannot take the records as the claims of one call: if one of them is not valid,
// or if two of them claim the same partition. Namespaces, event hubs and consumer
// groups that differ by the case of A to Z alone are the same.
func ValidateClaims(ownerships []Ownership) error {
	return validateClaims(ownerships, layout.Scope.Lower)
}

// validateClaims is ValidateClaims for a store that spells scopes in its own way.
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

// ValidateScope returns an error of the kind [ErrInvalidArgument] if a store
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

// invalid makes an [Error] of what layout found, if it found anything. A partition
// id that holds a credential is left without it.
func invalid(partitionID string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{PartitionID: redact.Secrets(nil).Text(partitionID), Kind: ErrInvalidArgument, Detail: err.Error()}
}
