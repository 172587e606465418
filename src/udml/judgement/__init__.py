"""What people say of pairs of pictures, and what follows from it about models. No torch, no serving."""
