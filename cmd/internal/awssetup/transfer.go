package awssetup

// TransferUSD is what so many bytes from CloudFront cost in a month, to North America and
// Europe and without requests.
func TransferUSD(bytes int64) float64 { return cost(cdnTransfer, float64(bytes)/gib, freeTransfer) }
