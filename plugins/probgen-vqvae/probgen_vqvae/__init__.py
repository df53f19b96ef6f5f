"""Vector-quantized variational autoencoders for probgen: families `vqvae` and `vqvae2`."""
