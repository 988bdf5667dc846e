// Package trust decides whether a signed text of package manifest is to be
// believed: who signed it, whether it is still fresh, and whether it is older
// than one that was seen before.
//
// A client pins keys and says how many of them must have signed: a [Policy].
// The pinned keys may be kept offline and certify online keys with a `keys`
// note ([Policy.Certify]). What was accepted is remembered in [Marks], so that
// nobody can lead the client back to it later.
//
// The order is: [Policy.Certify] with the `keys` note if the publisher has
// one, [Marks.Accept] of that note under the policy that certified, then
// [Policy.OpenHead] or [Policy.OpenCatalog] and [Marks.Accept] of their text.
package trust
