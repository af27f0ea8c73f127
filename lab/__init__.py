"""The accuracy laboratory: real services in network namespaces with a known truth, watched by flowsonar."""
