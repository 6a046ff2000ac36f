package rules

// CheckAlert is for the tests outside the package.
var CheckAlert = checkAlert
