package cloudfront

import "github.com/qsync/qsync/publish/internal/amazon"

var hints = map[string]string{
	"NoSuchDistribution":             "correct distribution: in the configuration, or the account that the credentials are of",
	"TooManyInvalidationsInProgress": "something else orders many invalidations of this distribution",
}

// explain says of the error of a request what can be done about it.
func explain(err error) error {
	return amazon.Explain(err, "CloudFront", "cloudfront", "on the distribution to the agent's user or role; qsyncd setup aws prints all that the agent needs", hints)
}
